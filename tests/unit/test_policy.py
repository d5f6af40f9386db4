"""Ceilings only narrow, and say which file forbids what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config import policy as policies
from runner.config.policy import CEILINGS, USUAL, capped, capped_limits, narrow, refuse
from runner.errors import ExitStatus, PolicyRefused
from runner.model import Delegation, Level, Limits, Model, Policy, RuntimeSettings, Sandbox, Task

GLOBS = st.lists(st.sampled_from(["*", "gpt-*", "*-mini", "gpt-5", "kimi"]), max_size=3, unique=True).map(
    tuple
)
GROUPS = st.lists(GLOBS, max_size=2).map(tuple)
POLICIES = st.builds(
    Policy,
    max_level=st.none() | st.sampled_from(tuple(Level)),
    network=st.none() | st.booleans(),
    runtimes=st.none() | st.lists(st.sampled_from(["codex", "kay", "x"]), unique=True).map(tuple),
    executors=GROUPS,
    models=GROUPS,
    env=GROUPS,
    config=GROUPS,
    programs=GROUPS,
    providers=GROUPS,
    verify=GROUPS,
    writable=GROUPS,
    max_depth=st.none() | st.integers(0, 8),
    max_children=st.none() | st.integers(0, 64),
    max_tokens=st.none() | st.integers(1, 9),
    max_cpus=st.none() | st.integers(1, 9),
    max_gpus=st.none() | st.integers(0, 9),
    max_memory=st.none() | st.integers(1, 9),
    max_time=st.none() | st.floats(1, 9),
    sources=st.dictionaries(
        st.sampled_from(CEILINGS),
        st.sampled_from([("/a",), ("/b",), ("/a", "/b")]),
    ),
)
USES = st.fixed_dictionaries(
    {
        "level": st.sampled_from(tuple(Level)),
        "network": st.booleans(),
        "runtime": st.sampled_from(["codex", "kay", "x", "y"]),
        "model": st.none() | st.sampled_from(["gpt-5", "gpt-5-mini", "kimi", "other"]),
        "env_names": st.lists(st.sampled_from(["gpt-5", "HOME"])),
        "command": st.sampled_from(["gpt-5", "./x"]),
        "config": st.sampled_from([{}, {"gpt-5": 1}, {"a": {"b": ["https://x"]}}]),
        "provider": st.sampled_from([None, "gpt-5", "other"]),
        "verify": st.sampled_from([(), (("gpt-5", "-q"),), (("make",),)]),
        "writable": st.sampled_from([(), ("/r/in",), ("/out",)]),
    }
)


def breaches(policy, *, level, network, runtime, model, **uses):
    """Of a run in `/r` that uses these."""
    sandbox = Sandbox("s", level, network, uses.get("writable", ()))
    named = {name: uses[name] for name in ("config", "provider") if name in uses}
    env = tuple(uses.get("env_names", ()))
    settings = RuntimeSettings(runtime, uses.get("command", "codex"), env=env, **named)
    task = Task("t", **{name: uses[name] for name in ("verify", "prepare") if name in uses})
    return policies.breaches(policy, "/r", sandbox, settings, Model(None, model), task)


FREE = {"level": Level.DANGER, "network": True, "runtime": "any", "model": None}


@given(POLICIES, POLICIES)
def test_the_order_of_policies_does_not_matter(one, other):
    assert narrow([one, other]) == narrow([other, one])


@given(POLICIES, POLICIES, POLICIES)
def test_how_policies_are_grouped_does_not_matter(one, two, three):
    assert narrow([narrow([one, two]), three]) == narrow([one, narrow([two, three])])


@given(POLICIES)
def test_the_same_policy_twice_is_once(policy):
    assert narrow([policy, policy]) == narrow([policy])
    assert narrow([narrow([policy])]) == narrow([policy])


@given(POLICIES, POLICIES, USES)
def test_a_use_is_allowed_exactly_when_every_policy_allows_it(one, other, use):
    allowed = not breaches(narrow([one, other]), **use)

    assert allowed is (not breaches(one, **use) and not breaches(other, **use))


@given(POLICIES, POLICIES, st.integers(0, 8), st.integers(0, 64))
def test_numbers_are_cut_down_to_the_least_of_all_policies_and_nothing_else_is_changed(
    one, other, depth, children
):
    own = Delegation(True, "inline", ("spawn",), depth, children, True, ("hello",), "leave")
    cut = capped(narrow([one, other]), own)

    assert cut == capped(other, capped(one, own))
    assert cut.max_depth <= depth and cut.max_children <= children
    assert cut.replace(max_depth=depth, max_children=children) == own
    assert capped(narrow([one, other]), cut) == cut


def test_without_a_policy_everything_is_allowed():
    assert breaches(narrow([]), **FREE, env_names=["ANY"]) == ()


def test_each_breach_is_a_sentence_that_names_the_file():
    policy = narrow(
        [
            Policy(
                max_level=Level.WORKSPACE_WRITE,
                network=False,
                runtimes=("codex",),
                sources=dict.fromkeys(("max_level", "network", "runtimes"), ("/home/policy.toml",)),
            ),
            Policy(
                max_level=Level.READ_ONLY,
                models=(("gpt-*",),),
                env=(("OPENAI_*",),),
                sources=dict.fromkeys(("max_level", "models", "env"), ("/etc/policy.toml",)),
            ),
        ]
    )

    found = breaches(
        policy,
        level=Level.WORKSPACE_WRITE,
        network=True,
        runtime="kay",
        model="kimi",
        env_names=["OPENAI_API_KEY", "AWS_SECRET"],
    )

    assert found == (
        'sandbox level "workspace-write" is wider than "read-only", the widest that /etc/policy.toml allows',
        "the sandbox has network, which /home/policy.toml forbids",
        'runtime "kay" is not among those that /home/policy.toml allows: codex',
        'model "kimi" is not among those that /etc/policy.toml allows: gpt-*',
        "environment variable AWS_SECRET is not among those that /etc/policy.toml allows: OPENAI_*",
    )


def test_a_run_without_a_named_model_is_refused_where_models_are_limited():
    policy = Policy(models=(("gpt-*",),))

    assert breaches(policy, level=Level.READ_ONLY, network=False, runtime="codex", model=None)


def test_danger_counts_as_network_whatever_the_sandbox_says():
    policy = Policy(network=False)

    assert breaches(policy, level=Level.DANGER, network=False, runtime="codex", model=None)


def test_model_globs_are_case_sensitive():
    policy = Policy(env=(("openai_*",),))
    use = {"level": Level.READ_ONLY, "network": False, "runtime": "codex", "model": None}

    assert breaches(policy, **use, env_names=["OPENAI_API_KEY"])


def test_a_breach_is_refused_with_exit_status_5_and_every_breach():
    policy = Policy(max_level=Level.READ_ONLY, network=False)

    with pytest.raises(PolicyRefused) as caught:
        refuse(breaches(policy, level=Level.DANGER, network=True, runtime="codex", model=None))

    assert caught.value.exit_status is ExitStatus.POLICY
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("ceiling", "declared", "left"),
    [
        (None, (None, None), (None, None)),
        (None, (5, 9), (5, 9)),
        (7, (None, None), (7, 7)),
        (7, (5, 9), (5, 7)),
        (1, (5, 9), (1, 1)),
    ],
)
def test_no_run_and_no_tree_of_runs_has_more_tokens_than_the_policy_allows(ceiling, declared, left):
    tokens, tree = declared
    limits = Limits(None, None, None, 5.0, tokens=tokens, tree_tokens=tree, repeats=3)

    capped_ = capped_limits(Policy(max_tokens=ceiling), limits)

    assert (capped_.tokens, capped_.tree_tokens) == left
    assert capped_.replace(tokens=tokens, tree_tokens=tree) == limits


# -- what settings name ----------------------------------------------------------------------------

STRICT = Policy(**{name: (usual,) for name, usual in USUAL.items()})
READS = {"level": Level.READ_ONLY, "network": False, "runtime": "codex", "model": None}


def used(policy, **uses):
    return breaches(policy, **READS, **uses)


def test_a_policy_that_names_nothing_allows_what_runs_and_sends_nothing_new():
    assert used(STRICT, provider="openai", writable=("/r", "/r/cache")) == ()
    assert used(STRICT, config={"features": {"unbounded_connection_retries": False}}) == ()


@pytest.mark.parametrize(
    ("uses", "ceiling"),
    [
        ({"command": "./evil"}, "programs"),
        ({"command": "/usr/bin/codex"}, "programs"),
        ({"config": {"mcp_servers": {"e": {"command": "/bin/sh"}}}}, "config"),
        ({"config": {"mcp_servers.e": {"command": "/bin/sh"}}}, "config"),
        ({"config": {"notify": ["touch", "x"]}}, "config"),
        ({"config": {"hooks": {}}}, "config"),
        ({"config": {"features": {"hooks": True}}}, "config"),
        ({"config": {"shell_environment_policy": {"set": {"BASH_ENV": "x"}}}}, "config"),
        ({"provider": "elsewhere"}, "providers"),
        ({"verify": (("touch", "x"),)}, "verify"),
        ({"prepare": (("touch", "x"),)}, "verify"),
        ({"writable": ("/r2",)}, "writable"),
        ({"writable": ("/",)}, "writable"),
    ],
)
def test_a_policy_that_names_nothing_refuses_it(uses, ceiling):
    (sentence,) = used(STRICT, **uses)

    assert f"`{ceiling}`" in sentence


def test_a_url_is_held_to_the_providers_wherever_it_stands_in_the_settings_of_a_program():
    open_config = STRICT.replace(config=(("*",),), providers=(("openai", "https://llm.example/*"),))

    assert used(open_config, config={"model_providers": {"p": {"base_url": "https://llm.example/v1"}}}) == ()
    for config in (
        {"model_providers": {"p": {"base_url": "https://evil.example/v1"}}},
        {"model_providers.p": {"base_url": "https://evil.example/v1"}},
        {"chatgpt_base_url": "http://127.0.0.1:9"},
        {"otel": {"exporter": [{"otlp-http": {"endpoint": "https://evil.example"}}]}},
        {"model_provider": "p"},
    ):
        assert used(open_config, config=config), config


def test_a_policy_allows_what_it_lists():
    policy = Policy(
        config=((*USUAL["config"], "mcp_servers.docs.*"),),
        programs=(("codex", "/opt/*/codex"),),
        verify=(("make",),),
        writable=(("/srv/cache/*",),),
    )

    assert (
        used(
            policy,
            command="/opt/a/codex",
            config={"mcp_servers": {"docs": {"command": "docs"}}},
            verify=(("make", "test"),),
            writable=("/srv/cache/x",),
        )
        == ()
    )
    assert len(used(policy, command="kay", verify=(("make",), ("sh",)), writable=("/srv",))) == 3


@pytest.mark.parametrize(
    "url",
    [
        *("https:evil.example/v1", "https:/evil.example", "HTTPS:\\\\evil.example", " https:evil.example"),
        *("\x01https:evil.example", "\x1f\0 http:evil.example"),
        *("ht\ttps:/\t/evil.example", "https:\n//evil.example/", "wss:evil.example", "//x://llm.example"),
        *(
            "https://evil.example/a.llm.example/",
            "https://evil.example?.llm.example/",
            "https:///evil.example/",
        ),
        *("https://evil.example\\.llm.example/", "https://a.llm.example:1@evil.example/"),
        *("https://a.llm.example@evil.example/", "https:/evil.example?://a.llm.example/"),
    ],
)
def test_no_spelling_of_a_url_goes_past_the_hosts_that_the_providers_name(url):
    providers = ("openai", "https://*.llm.example/*", "https://*.llm.example:*/*", "*://*.llm.example/*")
    policy = STRICT.replace(config=(("*",),), providers=(providers,))

    assert used(policy, config={"model_providers": {"p": {"base_url": url}}})
    for good in ("https://a.llm.example/v1", "https://a.llm.example:8443/v1?x", "http://u@a.llm.example/"):
        assert used(policy, config={"model_providers": {"p": {"base_url": good}}}) == ()
    open_to_all = policy.replace(providers=(("*",),))
    assert used(open_to_all, config={"model_providers": {"p": {"base_url": url}}}) == ()


def test_two_dots_lead_out_of_no_folder_that_a_glob_names():
    policy = STRICT.replace(programs=(("/opt/codex/*", "../tools/*"),), verify=(("ci/*",),))

    for command in ("/opt/codex/../../tmp/x", "/opt/codex/..", "../tools/../../x"):
        assert used(policy, command=command), command
    assert used(policy, verify=(("ci/../../usr/bin/env", "x"),))
    assert used(policy, command="/opt/codex/a/../codex", verify=(("ci/a/../b",),)) == ()
    assert used(policy, command="../tools/codex") == ()
