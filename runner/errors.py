"""Every error of the product in one file: a stable code, an exit status, a hint. Imports nothing but `value`.

    RunnerError
      UsageError  ConfigInvalid  PromptInvalid           2   nothing was started
      NoSession                                          2
      PlanInvalid  PipelineNotFound                      2
      TaskNotFound  RunNotFound  TurnNotFound            4
      PolicyRefused  NotTrusted  InReach  ProgramChanged 5
      RuntimeMissing  RuntimeWrong  NotReady             8
      CheckMissing  CutOff  StartFailed  PrepareFailed   8
      BaselineFailed  PlatformUnsupported  PluginFailed  8
      Conflict  IllegalTransition                        9
      LockInvalid  LockDrift                             9
      Unwritable  DiskFull                               9
      ManifestBroken  ManifestNewer  InvocationBroken    9
      RollbackRefused  WorkspaceBusy  SessionBusy        9
      ForeignRun  CassetteRefused                        9
      TooManyFiles  TooManyProcesses  OwnerStopped       9
      PlacingRefused                                     8
      GaveUpWaiting  EngineSilent                        75
      SupervisorFailed  Bug                              70
      Interrupted                                        130

Front ends map these to text, JSON or tool results; no other code catches them. Codes are unique and stable:
scripts and models read them. docs/commands.md has the table of exit statuses.
"""

from __future__ import annotations

from runner.value import IntEnum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class ExitStatus(IntEnum):
    """What the process answers to its caller; the same table stands in the README."""

    OK = 0
    NOT_SUCCESSFUL = 1
    INVALID = 2
    TIMED_OUT = 3
    NOT_FOUND = 4
    POLICY = 5
    REJECTED = 6
    BUDGET = 7
    RUNTIME = 8
    CONFLICT = 9
    BUG = 70
    GAVE_UP_WAITING = 75
    INTERRUPTED = 130


class RunnerError(Exception):
    """An expected failure: `message` says what is wrong, `hint` what to do next.

    `problems` lists the single findings when there are several (a config file); each is one line.
    `retryable` is true where the same call may succeed later without any change.
    """

    code = "error"
    exit_status = ExitStatus.NOT_SUCCESSFUL
    default_hint: str | None = None
    retryable = False

    def __init__(self, message: str, *, hint: str | None = None, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else self.default_hint
        self.problems = tuple(problems)


class UsageError(RunnerError):
    code = "usage"
    exit_status = ExitStatus.INVALID
    default_hint = "see `runner --help`"


class NoSession(UsageError):
    """No session of a host is named, or what names it can be no id of one."""

    code = "no_session"
    default_hint = (
        "type it in the host, or name the session: --host, --session; `runner mode off --all` ends all"
    )


class Interrupted(RunnerError):
    """Without a hint: whoever pressed Ctrl-C knows why. The message names what goes on."""

    code = "interrupted"
    exit_status = ExitStatus.INTERRUPTED


class ConfigInvalid(RunnerError):
    code = "config_invalid"
    exit_status = ExitStatus.INVALID
    default_hint = "`runner check` lists every problem; `runner schema delegate` prints the schema"


class PromptInvalid(RunnerError):
    code = "prompt_invalid"
    exit_status = ExitStatus.INVALID
    default_hint = "pass the prompt with --prompt TEXT, --prompt - (stdin), or in the task"


class PlanInvalid(RunnerError):
    code = "plan_invalid"
    exit_status = ExitStatus.INVALID
    default_hint = "`runner schema plan` prints the schema of a plan file"


class TaskNotFound(RunnerError):
    code = "task_not_found"
    exit_status = ExitStatus.NOT_FOUND
    default_hint = "`runner config show` lists the tasks"


class PipelineNotFound(UsageError):
    code = "pipeline_not_found"


class RunNotFound(RunnerError):
    code = "run_not_found"
    exit_status = ExitStatus.NOT_FOUND
    default_hint = "`runner list --all` lists the runs"


class TurnNotFound(RunnerError):
    code = "turn_not_found"
    exit_status = ExitStatus.NOT_FOUND
    default_hint = "`runner status RUN` says how many turns it has"


class PolicyRefused(RunnerError):
    code = "policy_refused"
    exit_status = ExitStatus.POLICY
    default_hint = "policy.toml sets the ceilings; `runner config show --origin` names the layers"


class InReach(RunnerError):
    """The agent could change what runner executes or obeys after it has begun."""

    code = "in_reach"
    exit_status = ExitStatus.POLICY
    default_hint = "`runner doctor` shows what is in reach of the agents of which tasks"


class ProgramChanged(RunnerError):
    """What would be started outside of a sandbox is not what it was before an agent began."""

    code = "program_changed"
    exit_status = ExitStatus.POLICY
    default_hint = "look at its change; a new start, or `--resume` of a plan, asks for trust in it"


class NotTrusted(RunnerError):
    """Nobody has said yet that what the settings of a repository execute, send and widen may be done here."""

    code = "not_trusted"
    exit_status = ExitStatus.POLICY
    default_hint = (
        "`runner trust` shows what they can do and asks; without a terminal, `--trust` agrees to it, and "
        "RUNNER_TRUST=DIGEST to exactly that (`runner trust --show` prints the digest)"
    )


class PlatformUnsupported(RunnerError):
    """This is no Linux."""

    code = "platform_unsupported"
    exit_status = ExitStatus.RUNTIME
    default_hint = "on macOS or Windows run it in a container, a virtual machine or WSL 2"


class PluginFailed(RunnerError):
    """A command of a host that installs or removes a plugin has failed."""

    code = "plugin_failed"
    exit_status = ExitStatus.RUNTIME
    default_hint = "`runner plugin doctor` says what is there"


class RuntimeMissing(RunnerError):
    code = "runtime_missing"
    exit_status = ExitStatus.RUNTIME
    default_hint = "`runner doctor` says how to repair it"


class RuntimeWrong(RunnerError):
    code = "runtime_wrong"
    exit_status = ExitStatus.RUNTIME
    default_hint = "`runner doctor` says how to repair it"


class CheckMissing(RunnerError):
    """A program of `verify` is not there, so no run could pass its checks."""

    code = "check_missing"
    exit_status = ExitStatus.RUNTIME
    default_hint = (
        "install it or mend its name; a script of the repository is named by its path, e.g. ./test.sh"
    )


class CutOff(RunnerError):
    """A sandbox lets this process have no socket: no agent that it starts could ask its model."""

    code = "cut_off"
    exit_status = ExitStatus.RUNTIME
    default_hint = (
        "do it outside of the sandbox; an agent has the tool `delegate_spawn` of runner's MCP server for that"
    )


class NotReady(RunnerError):
    """`doctor`: at least one check says that a run could not start."""

    code = "not_ready"
    exit_status = ExitStatus.RUNTIME
    default_hint = "follow the repair line of each failed check"


class Conflict(RunnerError):
    code = "conflict"
    exit_status = ExitStatus.CONFLICT
    default_hint = "`runner status RUN` shows the state it is in"


class IllegalTransition(Conflict):
    """The table of `state/lifecycle.py` has no such row."""

    code = "illegal_transition"


class Unwritable(RunnerError):
    code = "unwritable"
    exit_status = ExitStatus.CONFLICT
    default_hint = "check the owner, the permissions and the free space of the folder"


class LockInvalid(Conflict):
    """What stands where a lock belongs, and is none that this runner reads. It is left as it is."""

    code = "lock_invalid"
    default_hint = "take it away, then `runner lock` writes it again"


class LockDrift(Conflict):
    """`lock --check`: something is not as the lock says, or could not be looked at."""

    code = "lock_drift"
    default_hint = "`runner lock` writes it as it is now, if that is what is wanted"


class DiskFull(Unwritable):
    code = "disk_full"
    default_hint = "free some space; `runner clean` removes finished runs"


class TooManyFiles(RunnerError):
    """Of this process, or of the machine: only its owner can raise the limit."""

    code = "too_many_open_files"
    exit_status = ExitStatus.CONFLICT
    default_hint = (
        "`ulimit -n` shows and raises the limit of this shell, `sysctl fs.file-max` that of the machine"
    )


class TooManyProcesses(RunnerError):
    """Of this user, of this control group, or more than the memory takes."""

    code = "too_many_processes"
    exit_status = ExitStatus.CONFLICT
    default_hint = "`ulimit -u` shows the limit of this shell; end what is not needed, then try again"
    retryable = True


class ManifestBroken(RunnerError):
    code = "manifest_broken"
    exit_status = ExitStatus.CONFLICT
    default_hint = (
        "nothing was changed; `runner reap` makes the manifest of a run of yours again, and keeps this file"
    )


class InvocationBroken(RunnerError):
    """Nothing else says what was started, so nobody can take the run over."""

    code = "invocation_broken"
    exit_status = ExitStatus.CONFLICT
    default_hint = "end its processes by hand if any are left, then remove the run's folder"


class ForeignRun(Conflict):
    """Its records were not made here by this user, so it is shown and nothing more."""

    code = "foreign_run"
    default_hint = "`runner status RUN` shows it"


class CassetteRefused(Conflict):
    """A script of the run would come to another end, or show a secret. Nothing was written."""

    code = "cassette_refused"
    default_hint = "`runner logs RUN` shows what it did"


class ManifestNewer(RunnerError):
    """Nothing is changed or rebuilt: a run of a newer runner is not ours to judge."""

    code = "manifest_newer"
    exit_status = ExitStatus.CONFLICT
    default_hint = "a newer runner wrote it: upgrade this one"


class RollbackRefused(RunnerError):
    """Nothing was changed: history moved on since the snapshot, so going back is a decision of a person."""

    code = "rollback_refused"
    exit_status = ExitStatus.CONFLICT
    default_hint = "compare with `git log` and `git status`; the run's folder has the snapshot"


class SessionBusy(Conflict):
    """Another run works in the session that this one was to go on with."""

    code = "session_busy"
    default_hint = "`runner list` shows the run that works in it"


class WorkspaceBusy(RunnerError):
    """Another run may write in this work tree."""

    code = "workspace_busy"
    exit_status = ExitStatus.CONFLICT
    default_hint = "wait for that run, or give this one a worktree of its own"


class OwnerStopped(RunnerError):
    """A supervisor that is alive and does nothing: what became of the agent is unknown."""

    code = "owner_stopped"
    exit_status = ExitStatus.CONFLICT
    default_hint = (
        "`kill -CONT PID` wakes it; `kill -KILL PID` ends it, and the next look gives the run another"
    )


class StartFailed(RunnerError):
    """The run's folder exists and tells more: its manifest holds the reason."""

    code = "start_failed"
    exit_status = ExitStatus.RUNTIME
    default_hint = "`runner logs RUN --stream stderr` shows what the program said"


class PrepareFailed(StartFailed):
    """A command of `prepare` failed, or left what git does not ignore."""

    code = "prepare_failed"
    default_hint = "its output is in the run's folder (prepare-N.log)"


class BaselineFailed(StartFailed):
    """`start --baseline`: a check failed before there was an agent."""

    code = "baseline_failed"
    default_hint = "mend that first, or start without --baseline"


class SupervisorFailed(RunnerError):
    code = "supervisor_failed"
    exit_status = ExitStatus.BUG
    default_hint = "see `supervisor.log` in the run's folder"


class Bug(RunnerError):
    """An unexpected error; the path of its report is in the hint."""

    code = "bug"
    exit_status = ExitStatus.BUG


class GaveUpWaiting(RunnerError):
    code = "gave_up_waiting"
    exit_status = ExitStatus.GAVE_UP_WAITING
    default_hint = "the run continues; `runner wait RUN` waits again"
    retryable = True


class PlacingRefused(RunnerError):
    """The engine that was to place a run has refused it. Nothing runs."""

    code = "placing_refused"
    exit_status = ExitStatus.RUNTIME
    default_hint = "`runner doctor --executor NAME` tries it with a job of one processor"


class EngineSilent(RunnerError):
    """Whether the engine has done what it was asked for is not known: it gave no answer that can be used."""

    code = "engine_silent"
    exit_status = ExitStatus.GAVE_UP_WAITING
    default_hint = "nothing was concluded from that; `runner status RUN` asks again"
    retryable = True
