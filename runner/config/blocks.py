"""The built-in prompt blocks, which tasks can name in `blocks`. Pure: texts only.

They are the lowest layer of `[blocks]`, so a file replaces one by setting the same name.
"""

from __future__ import annotations

SCOPE_FENCE = """\
- Change what this task is about and nothing else: no clean-up, renaming or reformatting in passing, no extra
  feature. Where the task can be read in two ways, take the simpler one and say so.
- Stay inside this repository. If the task needs a change outside it, do the rest and say what is missing.
- Do not commit, push, tag, stash or switch branches; leave your changes in the working tree.
- Finish all of the task. What you could not do is named in your last message, with the reason."""

CONTEXT_LOADING = """\
- Before the first change, read every file that this prompt names, and the callers of what you will change.
- Look in the repository for something that does nearly the same; follow it in structure, names and tests.
- Take paths, signatures, variables and settings from the files: what the repository answers is no question.
  Say in your last message what you had to assume."""

PLAN_FIRST = """\
- Before the first change, write a plan of at most ten lines: files, order, edge cases, and how
  each step is checked. Where the task brings a plan, that is it.
- Then carry it out without waiting for an answer. Where the code shows that the plan is wrong, say so and
  change it."""

VERBOSITY = """\
- While you work, write only what a reader needs to follow: no repetition of files, diffs or long outputs.
- Your last message is a few sentences. After work on several files it is one paragraph and then at most five
  points: what is different now, where, what was checked with what result, what is at risk, what is open."""

TESTING_COMPLETENESS = """\
For everything that you add or change, go through these four kinds and write the tests that are missing:
- the normal case, with concrete inputs and the exact result;
- the edges: nothing, one, many, the largest, and values that are just inside and just outside;
- errors: wrong input, a failing dependency, and what the caller sees of it;
- integration: the parts together, through the entry that users take.
Where you touch callbacks, middleware or event handlers, test the whole chain from the trigger to its effect.
The scenarios that this prompt names are the least, not the limit. Weaken or skip no test to make it pass."""

VERIFY_TOGETHER = """\
- Run all tests that this work concerns in one command, not file by file: what one test file leaves behind
  (a replaced global, an open port) shows only when the others run in the same process.
- Repair what fails and run the same whole command again, until it passes or you know why it cannot."""

BLOCKS = {
    "scope-fence": SCOPE_FENCE,
    "context-loading": CONTEXT_LOADING,
    "plan-first": PLAN_FIRST,
    "verbosity": VERBOSITY,
    "testing-completeness": TESTING_COMPLETENESS,
    "verify-together": VERIFY_TOGETHER,
}
