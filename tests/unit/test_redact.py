"""Secrets never leave, and what only looks like one stays readable.

Every secret here is made up and put together from parts, so that no scanner takes it for real.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from runner.redact.exact import secrets_of
from runner.redact.redactor import Redactor
from runner.redact.seal import seal
from runner.redact.shapes import AHEAD
from runner.text.terminal import clean_terminal

MARK = "[redacted]"
ROOT = Path(__file__).parents[2]

DRAWN = "a1B2c3D4e5F6g7H8"
OPENAI = "sk-" + "proj-" + DRAWN + DRAWN
OLD_OPENAI = "sk-" + DRAWN * 3
ANTHROPIC = "sk-" + "ant-api03-" + DRAWN + "-_" + DRAWN
GITHUB = "ghp_" + DRAWN + DRAWN + "abcd"
GITHUB_FINE = "github_" + "pat_11" + DRAWN + "_" + DRAWN
SLACK = "xox" + "b-123456789012-" + DRAWN
AWS_ID = "AKIA" + "IOSFODNN7EXAMPLE"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG" + "/bPxRfiCYEXAMPLEKEY"
JWT = "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0" + ".dozjgNryP4J3jVmNHl0w5N"
NPM = "npm_" + DRAWN + DRAWN + "abcd"
GITLAB = "glpat-" + DRAWN + "abcd"
GOOGLE = "AIza" + DRAWN + DRAWN + "abc"
GOOGLE_OAUTH = "ya29." + "a0AfH6SMBx-" + DRAWN
BODY = [
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj" + DRAWN,
    "AgEAAoIBAQC7VJTUt9Us8cKj" + DRAWN * 2,
    "Zm9v",
]
PEM = "\n".join(["-----BEGIN " + "PRIVATE KEY-----", *BODY, "-----END " + "PRIVATE KEY-----"])
TOKENS = {
    "openai": OPENAI,
    "openai of old": OLD_OPENAI,
    "anthropic": ANTHROPIC,
    "github": GITHUB,
    "github server": GITHUB.replace("ghp", "ghs"),
    "github fine-grained": GITHUB_FINE,
    "slack": SLACK,
    "aws key id": AWS_ID,
    "aws key id for a session": "ASIA" + AWS_ID[4:],
    "jwt": JWT,
    "npm": NPM,
    "gitlab": GITLAB,
    "google": GOOGLE,
    "google oauth": GOOGLE_OAUTH,
    "stripe": "sk_" + "live_" + DRAWN,
}


def redacted(text: str, *values: str) -> str:
    return Redactor(values).redact_text(text)


def nested(text: str, depth: int, ascii_only: bool = True) -> str:
    for _ in range(depth):
        text = json.dumps({"text": text}, ensure_ascii=ascii_only)
    return text


def unnested(line: str, depth: int) -> str:
    for _ in range(depth):
        line = json.loads(line)["text"]
    return line


# -- shapes ------------------------------------------------------------------------------------


AROUND = ["{}", "use {}; then", "'{}'", "({})", "k={},", "é{}é", "-H{{{}}}"]


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_token_of_a_known_service_is_replaced_wherever_it_stands(token: str) -> None:
    assert [redacted(around.format(token)) for around in AROUND] == [around.format(MARK) for around in AROUND]


@pytest.mark.parametrize("before", ["\n", "\t", "\r\n", "\x1b[1;32m", '"', "\u0001", "\\"])
def test_a_token_behind_an_escape_is_found(before: str) -> None:
    for token, depth in itertools.product([OPENAI, GITHUB, AWS_ID, JWT, NPM], [1, 2, 3]):
        line = nested(f"{before}{token}\nnext", depth)
        assert unnested(redacted(line), depth) == f"{before}{MARK}\nnext"


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        PEM.replace("PRIVATE", "RSA PRIVATE"),
        PEM.replace("PRIVATE", "OPENSSH PRIVATE"),
        PEM.replace("\n", "\r\n"),
        PEM.replace("\n", "\n    "),
        PEM.replace("\n", "\n+"),
        PEM.replace("\n", "\n> "),
        PEM.replace("\n", " "),
        PEM.replace("\n", "\nProc-Type: 4,ENCRYPTED\n", 1),
        PEM.rpartition("\n")[0],
    ],
    ids=[
        "plain",
        "rsa",
        "openssh",
        "crlf",
        "yaml",
        "diff",
        "quoted",
        "one line",
        "header",
        "cut off",
    ],
)
def test_a_private_key_goes_as_a_whole(text: str) -> None:
    out = redacted(f"cat key\n{text}\nrest")
    assert out.startswith(f"cat key\n{MARK}")
    assert out.endswith("\nrest")
    assert not any(part in out for part in BODY[:2])


@pytest.mark.parametrize("depth", [1, 2])
def test_a_private_key_in_a_json_line_goes_as_a_whole(depth: int) -> None:
    out = unnested(redacted(nested(f"key:\n{PEM}\nrest", depth)), depth)
    assert out == f"key:\n{MARK}\nrest"


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("postgres://app:hunter2@db:5432/x", "postgres://app:[redacted]@db:5432/x"),
        ("redis://:hunter2@localhost", "redis://:[redacted]@localhost"),
        ("https://u:p@ss@host/x", "https://u:[redacted]@host/x"),
        (r"https:\/\/u:hunter2@host\/x", r"https:\/\/u:[redacted]@host\/x"),
        ("git+https://oauth2:abc@h/r.git,", "git+https://oauth2:[redacted]@h/r.git,"),
    ],
)
def test_of_a_url_only_the_password_is_replaced(url: str, clean: str) -> None:
    assert redacted(f"see {url} now") == f"see {clean} now"


# -- names and headers -------------------------------------------------------------------------

V = "abc123DEF456"
TELLING = [
    "API_KEY",
    "apikey",
    "x-api-key",
    "access_token",
    "refreshToken",
    "client_secret",
    "token",
]
TELLING += [
    "password",
    "DB_PASSWD",
    "aws_secret_access_key",
    "OPENAI_API_KEY",
    "secret",
    "_authToken",
]


@pytest.mark.parametrize(
    "form",
    [
        "NAME={}",
        "NAME = {}",
        "NAME: {}",
        "NAME:{}",
        "NAME='{}'",
        'NAME = "{}"',
        "export NAME={} OTHER=1",
        "?a=1&NAME={}&b=2",
        '{{"NAME": "{}"}}',
        '{{"NAME":"{}"}}',
        "{{'NAME': '{}'}}",
        r"{{\"NAME\": \"{}\"}}",
        r"{{\\\"NAME\\\":\\\"{}\\\"}}",
        '{{"name": "NAME", "value": "{}"}}',
        'os.environ["NAME"] = "{}"',
        'NAME: str = "{}"',
        'NAME = b"{}"',
        'NAME = """{}"""',
        "`NAME`: `{}`",
        "NAME => '{}',",
        "--NAME {}",
        "--NAME={}",
        '--NAME "{}"',
    ],
)
def test_the_value_behind_a_telling_name_is_replaced_and_nothing_else(form: str) -> None:
    forms = [form.replace("NAME", name) for name in TELLING]
    assert [redacted(each.format(V)) for each in forms] == [each.format(MARK) for each in forms]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("PASSWORD=correcthorse", "PASSWORD=[redacted]"),
        ("SECRET=correcthorsebattery\n", "SECRET=[redacted]\n"),
        ("password: hunter2", "password: [redacted]"),
        ("password=swordfish&next=/", "password=[redacted]&next=/"),
        ('"password": "swordfish"', '"password": "[redacted]"'),
        ('"password": "pw1"', '"password": "pw1"'),
        ('"password": "1234"', '"password": "[redacted]"'),
        ("passwd: s3cr3t!!", "passwd: [redacted]"),
        ("password: p@ss!word", "password: [redacted]"),
        ('"token":"a\\"b\\\\c1234567"', '"token":"[redacted]"'),
        ("aws_secret_access_key = " + AWS_SECRET, "aws_secret_access_key = [redacted]"),
        ('"password": "abc123DEF', '"password": "[redacted]'),
        ('"token": "Bearer abc123DEF456"', '"token": "[redacted]"'),
        ("api_key=" + "0123456789" * 2, "api_key=[redacted]"),
    ],
)
def test_what_counts_as_a_value(text: str, clean: str) -> None:
    assert redacted(text) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abc123DEF456", "Authorization: Bearer [redacted]"),
        ("> authorization: Basic dXNlcjpwYXNz\r\n", "> authorization: Basic [redacted]\r\n"),
        (
            "-H 'Authorization: token abc123DEF456' https://x",
            "-H 'Authorization: token [redacted]' https://x",
        ),
        ('{"Authorization":"Bearer abc123DEF456"}', '{"Authorization":"Bearer [redacted]"}'),
        (r"{\"authorization\": \"abc123DEF456\"}", r"{\"authorization\": \"[redacted]\"}"),
        ("{'Authorization': f'Bearer {token}'}", "{'Authorization': f'Bearer {token}'}"),
        ('["authorization", "Bearer abc123DEF456"]', '["authorization", "Bearer [redacted]"]'),
        ("Proxy-Authorization: Digest username=x, response=1", "Proxy-Authorization: [redacted]"),
        ("Cookie: session=abc; theme=dark\nnext", "Cookie: [redacted]\nnext"),
        ('Set-Cookie: a="b c"; Path=/; HttpOnly', "Set-Cookie: [redacted]"),
        ("curl -H 'Cookie: a=b; c=d' x", "curl -H 'Cookie: [redacted]' x"),
        (
            '{"set-cookie":["a=b; Path=/","c=d"],"x":1}',
            '{"set-cookie":["[redacted]","[redacted]"],"x":1}',
        ),
        (r'{"t":"Cookie: a=b; c=d\r\nHost: x"}', r'{"t":"Cookie: [redacted]\r\nHost: x"}'),
        (r"{\"Cookie\":\"a=b\",\"x\":1}", r"{\"Cookie\":\"[redacted]\",\"x\":1}"),
        ('{"name":"cookie","value":"a=b"}', '{"name":"cookie","value":"[redacted]"}'),
    ],
)
def test_headers_lose_their_credentials_in_every_quoting(text: str, clean: str) -> None:
    assert redacted(text) == clean


# -- what must stay ----------------------------------------------------------------------------

INNOCENT = """
max_token=5
max_tokens: 4096
{"input_tokens":200,"cached_input_tokens":80,"output_tokens":12,"max_token":128000}
token_count
{"type":"token_count","token_type":"Bearer","page_token":"2"}
tokens=12 tokenizer=fast tokenizer_config=gpt2tokenizer99
password_file = /run/secrets/db_password1
secret=/run/secrets/db2/password
secret_santa=bob12345
deadbeef0123456789abcdef0123456789abcdef
550e8400-e29b-41d4-a716-446655440000
20260102T030405678Z-1a2b3c4d
the token is refreshed, and the password was changed
token: string;
token?: string | null
readonly token: Uint8Array = tokens[0]
def f(token: str, secret: bytes = b"", *, password: Optional[str] = None) -> None:
login(user, password=user_password, token=token2)
token = request.headers.get("x-token")
client.api_key = self.config.api_key
os.environ["API_KEY"]
apiKey: process.env.OPENAI_API_KEY,
TOKEN=${TOKEN} API_KEY=$API_KEY SECRET=$(cat file1)
password: ${{ secrets.DB_PASSWORD1 }}
{"password": "string", "token": "<your-token-1>", "secret": "****"}
{"password": "Enter your password", "api_key": "YOUR_API_KEY"}
{"token": " the", "logprob": -0.1}
{"type":"token","value":"identifier12"}
token::Punct, Token::Ident(x1234567)
if token == expected_token1:
secret = sha256(payload1)
password=None, secret=settings.SECRET_KEY
token: 12345
version token: v1.22.333
expires token: 2026-01-02T03:04:05Z
"resource": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod1db"
<assemblyIdentity publicKeyToken="1fc8b3b9a1e18e3b">
pip install sk-learn sk-learn-contrib-packages sk-video-1.1.10
task-force-alpha-2024 risk-assessment-2024-report desk-1234567890ab
xoxo-lots-of-love
Authorization: required
Authorization: Bearer <token>, Authorization: Bearer $TOKEN
Access-Control-Allow-Headers: Authorization, Content-Type
["authorization", "content-type", "x-amz-content-sha256"]
Cookie: a small cake; Vary: Cookie
def get(cookie, path=1): return parse(cookie=cookie, cls=cls)
https://host:8080/@scope/pkg?email=a@b.c git@github.com:o/r.git
docker://alpine:3.18@sha256:0123456789abcdef
//# sourceMappingURL=data:application/json;base64,eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbXX0=
-----BEGIN PUBLIC KEY-----
grep -- '-----BEGIN PRIVATE KEY-----' in files
npm_config_registry npm_lifecycle_event=build ghp_short AKIA glpat-short AIza
"""


def test_what_only_looks_like_a_secret_stays() -> None:
    lines = INNOCENT.split("\n")
    assert [redacted(line) for line in lines] == lines


def test_it_stays_in_a_json_line_too() -> None:
    lines = [nested(line, 2) for line in INNOCENT.split("\n")]
    assert [redacted(line) for line in lines] == lines


def test_a_public_key_and_a_certificate_stay() -> None:
    text = PEM.replace("PRIVATE KEY", "PUBLIC KEY") + "\n" + PEM.replace("PRIVATE KEY", "CERTIFICATE")
    assert redacted(text) == text


# -- exact values ------------------------------------------------------------------------------

AWKWARD = 'p"a\\s/s é😀\n<x>+y=1&'


@pytest.mark.parametrize(
    "value", ["simple-value", AWKWARD, "tail-end\\\\\\", '"quoted1"', "nabcdefgh", "a b c d e"]
)
def test_a_value_is_found_however_deep_in_json(value: str) -> None:
    for depth, ascii_only in itertools.product(range(4), [True, False]):
        out = unnested(redacted(nested(f"<{value}>", depth, ascii_only), value), depth)
        assert value not in out
        assert MARK in out


@pytest.mark.parametrize(
    "spelling",
    [
        urllib.parse.quote(AWKWARD, safe=""),
        urllib.parse.quote_plus(AWKWARD),
        urllib.parse.quote(AWKWARD, safe="").lower(),
        urllib.parse.quote(urllib.parse.quote(AWKWARD, safe=""), safe=""),
        base64.b64encode(AWKWARD.encode()).decode(),
        base64.urlsafe_b64encode(AWKWARD.encode()).decode(),
        json.dumps(AWKWARD)[1:-1].replace("/", "\\/"),
        json.dumps(AWKWARD)[1:-1].replace("<", "\\u003c").replace("&", "\\u0026").replace("+", "\\u002B"),
    ],
    ids=["url", "form", "hex", "twice", "base64", "base64url", "slashes", "html"],
)
def test_a_value_is_found_in_other_spellings(spelling: str) -> None:
    assert redacted(f"x {spelling}, y", AWKWARD) == f"x {MARK}, y"


@pytest.mark.parametrize("value", ["my-own-value", "my-own-value1", "my-own-value12"])
def test_a_value_is_found_in_base64_with_a_line_end(value: str) -> None:
    out = redacted(base64.b64encode(value.encode() + b"\n").decode(), value)
    assert out in (MARK, MARK + "Cg==")


@pytest.mark.parametrize(
    "value", ['p@ss"w0rd-Zq9', "cl\\ef-Zq9xLm77Tr", "naïve-Zq9😀xLm7", "lineone9\nlinetwo8"]
)
def test_a_value_is_found_in_json_in_a_url(value: str) -> None:
    for times in (1, 2):
        for is_ascii in (True, False):
            text = json.dumps({"k": value}, ensure_ascii=is_ascii)
            for _ in range(times):
                text = urllib.parse.quote(text, safe="")
            clean = Redactor([value]).redact_text(f"GET /?q={text}")
            assert urllib.parse.unquote(urllib.parse.unquote(clean)) == 'GET /?q={"k": "[redacted]"}'


def test_a_value_of_several_lines_is_found_with_other_line_ends() -> None:
    assert redacted("x one\r\ntwo\r\nthree y", "one\ntwo\nthree") == f"x {MARK} y"


def test_a_value_with_quotes_keeps_them_where_they_may_belong_to_a_json_text() -> None:
    assert redacted('x ab"cdefgh y', 'ab"cdefgh') == f'x {MARK}"{MARK} y'


def test_overlapping_values_go_together() -> None:
    assert redacted("xabcdefghijklx", "abcdefgh", "efghijkl") == f"x{MARK}x"
    assert redacted("xabcabcabcabcx", "abcabcabc") == f"x{MARK}x"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "short12",
        "true",
        "PRODUCTION",
        "xxxxxxxxxxxx",
        " localhost\n",
        "1,2,3,4,5",
        "[redacted]",
    ],
)
def test_values_that_are_short_or_common_are_not_looked_for(value: str) -> None:
    text = f"a {value} b"
    assert redacted(text, value) == text


def test_a_value_is_found_without_the_line_end_that_its_file_had() -> None:
    assert redacted("x my-own-value y", "my-own-value\n") == f"x {MARK} y"


def test_a_number_that_is_a_secret_leaves_valid_json_behind() -> None:
    out = redacted('{"pin": 12345678, "at": 99123456780, "s": "pin-12345678"}', "12345678")
    assert json.loads(out) == {"pin": None, "at": None, "s": f"pin-{MARK}"}


def test_a_json_value_is_found_where_it_stands_as_an_object() -> None:
    value = json.dumps({"type": "service_account", "id": 7, "key": "abc"})
    out = redacted(f'{{"credentials": {value}, "n": 1}}', value)
    assert "service_account" not in out
    assert json.loads(out)["n"] == 1


def test_bytes_that_are_no_utf8_stay_as_they_are() -> None:
    data = b"\xff\xfe key=" + OPENAI.encode() + b" \x80\xc3("
    assert Redactor().redact_bytes(data) == b"\xff\xfe key=[redacted] \x80\xc3("


def test_lone_surrogates_survive() -> None:
    assert redacted(f"\ud83d {GITHUB} \udcff") == f"\ud83d {MARK} \udcff"


def test_nothing_is_copied_when_there_is_nothing_to_replace() -> None:
    data = b"plain text " * 100
    assert Redactor(["my-own-value"]).redact_bytes(data) is data


@pytest.mark.parametrize(
    ("line", "values", "clean"),
    [
        (r'["\nabcdefgh"]', ["nabcdefgh"], '["[redacted]"]'),
        (r'["\u00e9abcd"]', ["00e9abcd"], '["[redacted]"]'),
        (r'["abcdefg\"", 1]', ["abcdefg\\"], '["[redacted]", 1]'),
        (r'["\\nabcdefgh"]', ["nabcdefgh"], r'["\\[redacted]"]'),
        ('["password=",12345678,"b"]', [], '["password=",12345678,"b"]'),
        ('["a password: ", 1, "abcdefg"]', [], '["a password: ", 1, "abcdefg"]'),
        ('{"Authorization":null,"a=b":1}', [], '{"Authorization":null,"a=b":1}'),
        ('{"api_key":12345678901234567890}', [], '{"api_key":12345678901234567890}'),
        (rf'["{{\"token\": \"{V}", 1]', [], r'["{\"token\": \"[redacted]", 1]'),
        (rf'["{{\"token\": \"{V}\\", 1]', [], r'["{\"token\": \"[redacted]\\", 1]'),
        (f"""["password='{V}","it's"]""", [], """["password='[redacted]","it's"]"""),
        (f'["Cookie: a={V}","b;c"]', [], '["Cookie: [redacted]","b;c"]'),
    ],
)
def test_a_quote_or_an_escape_is_never_taken_for_a_part_of_a_value(
    line: str, values: list[str], clean: str
) -> None:
    assert json.loads(clean) is not None
    assert redacted(line, *values) == clean


# -- properties --------------------------------------------------------------------------------

SLOW_IS_FINE = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_NAMES = [
    "token",
    "api_key",
    "API_KEY",
    "password",
    "PASSWORD",
    "secret",
    "Authorization",
    "Cookie",
]
_NAMES += ["set-cookie", "--token ", "input_tokens", '{"name":"token","value":']
_GLUE = [
    *"\"'`\\ =:,;&{}[]()<>\n\r\t/@.|-_+%$*!é😀",
    '\\"',
    "\\\\",
    "\\n",
    "\\u0041",
    '\\\\\\"',
    ": ",
]
_GLUE += [
    '": "',
    '\\": \\"',
    "='",
    '="',
    "Bearer ",
    "Basic ",
    "://",
    MARK,
    "[redact",
    "acted]",
    "${",
]
_GLUE += ["null", "true", "12345678", V, "hunter2", "correcthorse", "a=b", "sk-", "eyJ", "\x1b[31m"]
_URL = "https://u:" + V + "@host/"
piece = st.one_of(
    st.sampled_from([*TOKENS.values(), PEM, _URL]),
    st.sampled_from(_NAMES),
    st.sampled_from(_GLUE),
    st.sampled_from(_GLUE),
    st.text(max_size=5),
)
messy = st.lists(piece, max_size=14).map("".join)
value = st.one_of(
    st.text(alphabet="abcXYZ0129_-+/=\"\\\n\t é😀%&<>'nrtu{}:,@", min_size=8, max_size=24),
    st.text(alphabet="0123456789", min_size=8, max_size=12),
    st.lists(piece, min_size=1, max_size=4).map("".join),
    st.sampled_from(["nabcdefgh", "00e9abcd", "u0041bcde", AWKWARD, '{"a":"x1"}', "tesla123", "\\" * 8]),
)
document = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        messy,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(_NAMES), messy), inner, max_size=4),
    ),
    max_leaves=8,
)


@SLOW_IS_FINE
@given(messy, st.lists(value, max_size=3))
def test_redacting_twice_changes_nothing(text: str, values: list[str]) -> None:
    redactor = Redactor(values)
    for each in [text, *(text + secret + text for secret in values)]:
        once = redactor.redact_text(each)
        assert redactor.redact_text(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "[redacted]abcdefgh",
        "my-own-valueabcdefgh",
        f'"password": "/run/sk-{DRAWN}/x"',
        f"token={V}my-own-value, my-own-value{AWS_ID}",
        "sk-" + "a1B2c3D4-" * 55 + AWS_ID,
        PEM + JWT,
        f"https://{OPENAI}:pw@host Cookie: my-own-value=x; {V}",
    ],
)
def test_what_stands_beside_a_marker_is_not_a_new_secret(text: str) -> None:
    redactor = Redactor(["my-own-value", "]abcdefgh"])
    once = redactor.redact_text(text)
    assert redactor.redact_text(once) == once


def same_but_for_strings(old: Any, new: Any, numbers: bool) -> bool:
    """Whether both have one form; `numbers` says that a number may have become null."""
    if isinstance(old, (list, tuple)):
        return len(old) == len(new) and all(
            same_but_for_strings(a, b, numbers) for a, b in zip(old, new, strict=True)
        )
    if isinstance(old, str):
        return isinstance(new, str)
    return bool(old == new) or (numbers and isinstance(old, (int, float)) and new is None)


@SLOW_IS_FINE
@given(
    document,
    st.lists(value, max_size=3),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": ")]),
)
def test_a_json_line_stays_one_and_only_strings_change(
    inner: Any, values: list[str], depth: int, ascii_only: bool, separators: tuple[str, str]
) -> None:
    for _ in range(depth):
        inner = {"token": json.dumps(inner, ensure_ascii=ascii_only, separators=separators)}
    line = json.dumps(inner, ensure_ascii=ascii_only, separators=separators)
    out = Redactor(values).redact_text(line)
    numbers = any(char.isdigit() for each in values for char in each)
    old, new = (json.loads(text, object_pairs_hook=tuple) for text in (line, out))
    assert "\n" not in out
    assert same_but_for_strings(old, new, numbers), out


@SLOW_IS_FINE
@given(value, messy, messy, st.integers(0, 3), st.booleans())
def test_a_value_never_survives(secret: str, before: str, after: str, depth: int, ascii_only: bool) -> None:
    secret = secret.strip()
    assume(secrets_of([secret]) and not set("[]") & set(secret + before + after))
    out = redacted(nested(before + secret + after, depth, ascii_only), secret)
    if depth:
        out = json.loads(out)["text"]
    try:
        out = unnested(out, depth - 1)
    except ValueError:  # a value with a quote may take one of an inner document's with it
        assert '"' in secret or "\\" in secret
    assert secret not in out


@pytest.mark.parametrize("spelt", ["0000000%2B", "0000000%2b", "0000000%252B"])
def test_a_number_with_a_sign_is_found_in_a_url_and_stays_a_number_in_json(spelt: str) -> None:
    redactor = Redactor(["0000000+", "1e+30000"])
    assert redactor.redact_text(f"?n={spelt}&m") == "?n=[redacted]&m"
    assert redactor.redact_text('{"n": 1e+30000}') == '{"n": null}'


@SLOW_IS_FINE
@given(value, messy)
def test_an_encoded_value_never_survives(secret: str, around: str) -> None:
    secret = secret.strip()
    assume(secrets_of([secret]))
    raw = secret.encode("utf-8", "surrogatepass")
    spellings = [
        urllib.parse.quote(raw, safe=""),
        urllib.parse.quote_plus(raw),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
    ]
    redactor = Redactor([secret])
    for spelling in spellings:
        assert spelling not in redactor.redact_text(f"{around} {spelling} {around}")


@given(st.text(st.characters(exclude_characters="@:=")))
def test_text_without_any_anchor_stays(text: str) -> None:
    assert redacted(text, "my-own-value-1") == text


# -- pieces and files --------------------------------------------------------------------------


def in_pieces(redactor: Redactor, data: bytes, cuts: list[int]) -> bytes:
    stream = redactor.stream()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    out = [stream.feed(data[a:b]) for a, b in itertools.pairwise(edges)]
    return b"".join([*out, stream.finish()])


@SLOW_IS_FINE
@given(messy, st.lists(value, max_size=2), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_pieces_give_what_the_whole_gives(text: str, values: list[str], places: list[float]) -> None:
    redactor = Redactor(values)
    middle = "".join([text, *values, text]).encode("utf-8", "surrogatepass")
    data = b"word " * 1200 + middle + b" word" * 9000
    # what is decided with one piece ends so far before the piece does
    cuts = [6000 + AHEAD + int(place * len(middle)) for place in places]
    cuts += [6000 + int(place * len(middle)) for place in places]
    assert in_pieces(redactor, data, cuts) == redactor.redact_bytes(data)


@pytest.mark.parametrize("first", [5000, 5001])
def test_a_border_does_not_hide_how_many_backslashes_stand_before(first: int) -> None:
    redactor = Redactor(["nabcdefgh1"])
    data = b"x" * 5000 + b"\\" * 1001 + b"nabcdefgh1 " + b"word " * 9000
    whole = redactor.redact_bytes(data)
    assert whole.count(b"\\") == 1000
    assert in_pieces(redactor, data, list(range(first, len(data), 100))) == whole


@pytest.mark.parametrize("text", [rb'"\nabcdefgh1"', b"[1,99123456780]", b"{AWKWARD}"])
def test_a_single_border_anywhere_makes_no_difference(text: bytes) -> None:
    redactor = Redactor(["nabcdefgh1", "12345678", AWKWARD])
    data = b"word " * 20 + text.replace(b"{AWKWARD}", AWKWARD.encode()) + b" word" * 600
    whole = redactor.redact_bytes(data)
    assert whole != data
    assert {in_pieces(redactor, data, [cut]) for cut in range(len(data))} == {whole}


@pytest.mark.parametrize("secret", [OPENAI, AWKWARD, PEM, f"password='{V}'", f"Cookie: a={V}"])
def test_a_secret_across_any_border_is_found(secret: str) -> None:
    redactor = Redactor([AWKWARD])
    data = b"".join(b"%d %b\n" % (n, secret.encode()) for n in range(900))
    whole = redactor.redact_bytes(data)
    assert V.encode() not in whole and secret.encode() not in whole
    for size in (997, 4096, 34567):
        assert in_pieces(redactor, data, list(range(size, len(data), size))) == whole


@pytest.mark.parametrize("chunk_size", [1, 7, 64, 4096, 1 << 20])
def test_a_sealed_file_holds_what_redacting_the_whole_gives(tmp_path: Path, chunk_size: int) -> None:
    redactor = Redactor([AWKWARD])
    lines = [nested(f"{n} {secret}", 1) for n in range(8) for secret in (OPENAI, AWKWARD, PEM, "none")]
    data = "\n".join(lines).encode()
    path = tmp_path / "stdout.jsonl"
    path.write_bytes(data)
    path.chmod(0o600)
    os.utime(path, ns=(10**18, 10**18))
    assert seal(path, redactor, chunk_size=chunk_size) == 24
    assert path.read_bytes() == redactor.redact_bytes(data)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mtime_ns == 10**18
    assert os.listdir(tmp_path) == ["stdout.jsonl"]
    assert seal(path, redactor) == 0


@pytest.mark.parametrize("data", [b"", b"nothing here\n" * 9999, b"password=[redacted]\n"])
def test_a_file_without_secrets_is_not_touched(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "stdout.jsonl"
    path.write_bytes(data)
    before = path.stat()
    assert seal(str(path), Redactor(["my-own-value"])) == 0
    assert (path.stat().st_ino, path.stat().st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


def test_a_link_is_refused_and_what_it_points_to_stays(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text(OPENAI)
    link = tmp_path / "stdout.jsonl"
    link.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        seal(link, Redactor())
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        seal(tmp_path / "fifo", Redactor())
    assert target.read_text() == OPENAI


def in_a_process_of_its_own(code: str, *args: str) -> str:
    prelude = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    command = [sys.executable, "-I", "-c", prelude + code, *args]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


FULL_DISK = """
import resource, signal
from runner.redact.redactor import Redactor
from runner.redact.seal import seal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    seal(sys.argv[1], Redactor())
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("first", [0, 2_500_000])
def test_when_writing_fails_the_old_file_is_whole_and_alone(tmp_path: Path, first: int) -> None:
    path = tmp_path / "stdout.jsonl"
    data = b"x" * first + b"\n" + OPENAI.encode() + b"\n" + b"y" * 3_000_000
    path.write_bytes(data)
    assert in_a_process_of_its_own(FULL_DISK, str(path)) == "OSError\n"
    assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["stdout.jsonl"]


MEMORY = """
import resource
from runner.redact.redactor import Redactor
from runner.redact.seal import seal
redactor = Redactor(["my-own-value"])
redactor.redact_text("token=abc my-own-value " * 50000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = seal(sys.argv[1], redactor)
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_one_line_of_64_mb_is_sealed_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "stdout.jsonl"
    filler = b"some words without secrets, " * 37_450
    with path.open("wb") as file:
        file.write(b'{"text": "')
        for n in range(64):
            file.write(filler + (b"my-own-value" if n % 8 == 5 else b""))
        file.write(b'"}\n')
    count, kib = in_a_process_of_its_own(MEMORY, str(path)).split()
    assert int(count) == 8
    assert int(kib) < 12 * 1024
    assert b"my-own-value" not in path.read_bytes()


HEAVY = "typing json logging dataclasses pathlib tempfile base64 asyncio subprocess inspect"


def test_importing_brings_in_nothing_heavy_and_compiles_no_pattern() -> None:
    code = (
        "import re; before = len(re._cache)\nimport runner.redact.redactor\n"
        "print(len(re._cache) - before, *sorted(sys.modules))"
    )
    compiled, *modules = in_a_process_of_its_own(code).split()
    assert compiled == "0"
    assert not set(HEAVY.split()) & set(modules)


# -- no input is slow --------------------------------------------------------------------------

HOSTILE = [
    "token=",
    'token: "',
    "token='",
    'token="x',
    r"token=\"",
    "token:a ",
    "sk-a-",
    "ghp_",
    "xoxb-",
]
HOSTILE += [
    "eyJ.",
    "eyJabcdefgh.",
    "://",
    "a://b:",
    "@",
    "a://u:p@",
    "\\",
    '\\"',
    r"\n",
    '"',
    "12345678",
]
HOSTILE += [
    "-----BEGIN " + "PRIVATE KEY-----",
    "-----BEGIN " + "PRIVATE KEY-----\n" + "A" * 30 + "\n",
]
HOSTILE += [
    "Authorization: ",
    "authorization: basic ",
    "Authorization: a=",
    "Cookie: a=",
    'cookie: a="b',
]
HOSTILE += [
    '"cookie":["a=b","',
    '{"name":"token","value":',
    "--token ",
    "aaaaaaa",
    "ya29.",
    "password:a|",
]


def cpu_seconds(redactor: Redactor, text: str) -> float:
    times = []
    for _ in range(3):
        start = time.process_time()
        redactor.redact_text(text)
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize("unit", HOSTILE)
def test_four_times_the_input_takes_about_four_times_as_long(unit: str) -> None:
    redactor = Redactor(['\\"' * 20 + "abcdef" + '"\\' * 20, "aaaaaaab", "12345678", "\\" * 8 + "x"])
    size = 16 * 1024 // len(unit)
    short = cpu_seconds(redactor, unit * size)
    long = cpu_seconds(redactor, unit * size * 4)
    assert long < 9 * short + 0.01


def test_a_megabyte_of_one_value_is_redacted_once() -> None:
    text = "password=" + "a1" * 500_000
    assert redacted(text) == text, "a value of a megabyte is no password"


# -- for the terminal --------------------------------------------------------------------------

ESC = "\x1b"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            "plain text\twith tab\nand line é 漢字 👩‍💻",
            "plain text\twith tab\nand line é 漢字 👩‍💻",
        ),
        (f"{ESC}[1;31mred{ESC}[0m", "red"),
        (f"{ESC}[2J{ESC}[H{ESC}[?25lx", "x"),
        ("\x9b31mred\x9b0m", "red"),
        (f"{ESC}]0;title\x07x", "x"),
        (f"{ESC}]8;;https://evil{ESC}\\label{ESC}]8;;{ESC}\\", "label"),
        ("\x9d0;title\x9cx", "x"),
        (f"{ESC}P1$r0m{ESC}\\x{ESC}_apc{ESC}\\y{ESC}^pm{ESC}\\z{ESC}Xsos{ESC}\\", "xyz"),
        (f"{ESC}]0;never closed\nnext", "0;never closed\nnext"),
        (f"{ESC}[31", "31"),
        (f"{ESC}cx{ESC}(By{ESC}7z", "xyz"),
        (f"a{ESC}{ESC}[0m[31mb", "a[31mb"),
        ("bell\x07 null\x00 delete\x7f c1\x84", "bell null delete c1"),
        ("secret\rpublic", "secret\npublic"),
        ("a\r\nb\r\r\nc\rd", "a\nb\nc\nd"),
        ("rm -rf /\b\b\b\bls", "rm -rf /ls"),
        ("a\x0bb\x0cc\x85d\u2028e", "a\nb\nc\nd\ne"),
        ("\u202egpj.exe\u202c \u2066x\u2069", "gpj.exe x"),
        ("zero\u200bwidth\ufeff \U000e0041tag", "zerowidth tag"),
        ("lone \udc9b\ud83d", "lone \ufffd\ufffd"),
    ],
)
def test_text_for_the_terminal_moves_nothing(text: str, clean: str) -> None:
    assert clean_terminal(text) == clean


@given(
    st.text(st.characters(), max_size=40),
    st.lists(st.sampled_from([ESC, "[", "]", "\x9d", "\x07", "m"])),
)
def test_whatever_comes_in_nothing_that_controls_comes_out(text: str, more: list[str]) -> None:
    out = clean_terminal(text + "".join(more) + text)
    assert all(char in "\n\t" or not (ord(char) < 32 or 127 <= ord(char) < 160) for char in out)
    assert not set(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)])) & set(out)
    assert clean_terminal(out) == out
    out.encode()


@pytest.mark.parametrize(
    "unit", [f"{ESC}[", f"{ESC}]", "\x9d", ESC, "\r", f"{ESC}   ", "\x9b0", f"{ESC}]8;;"]
)
def test_cleaning_takes_no_longer_than_the_text_is_long(unit: str) -> None:
    size = 100_000 // len(unit)
    start = time.process_time()
    clean_terminal(unit * size)
    short = time.process_time() - start
    start = time.process_time()
    clean_terminal(unit * size * 4)
    assert time.process_time() - start < 9 * short + 0.02


def test_a_secret_cut_by_a_colour_is_found_once_the_colour_is_gone() -> None:
    text = f"{GITHUB[:12]}{ESC}[0m{GITHUB[12:]}"
    assert redacted(clean_terminal(text)) == MARK
