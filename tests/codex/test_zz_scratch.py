from test_codex_recovery import *
from support.judged import prepares
from support import processes
import json
def servers(run): return [p.pid for p in run.everything() if any("/rehearsal/__main__.py" in w for w in p.words)]
def test_x(repo):
    script = call("echo 'answer = 42' > src/app.py") + hung + says(claim())
    run = starts(repo, script, FINAL, CHECK, 'idle_timeout = "1500ms"', "retries = 1", more='[recovery]\nbackoff = "2s"\n')
    told(run, "limit")
    print("at limit", servers(run))
    told(run, "backing_off")
    print("at backing off", servers(run))
    m = run.wait()
    print(m["status"], m["reason"], [(a["how"], a["reason"]) for a in m["attempts"]])
    print(run.file("supervisor.log"))
    assert 0
def test_patch(repo):
    a = call("echo first > src/first.txt") + says("prose")
    b = call("echo second > src/second.txt") + says("prose")
    prepares(repo, a + b, FINAL, "retries = 1", more=FRESH)
    run = repo.start()
    m = run.wait()
    import os
    print(m["status"], os.listdir(repo.root / "src"), run.events("rolled_back"))
    print({n: run.file(n) for n in os.listdir(run.folder) if n.startswith("discarded")})
    print("first" in str([run.file(n) for n in os.listdir(run.folder) if n.endswith(".patch")]))
    assert 0
