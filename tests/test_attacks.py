"""Nobody is paid for a hidden check by an attack, nobody is harmed by one, and right answers keep every point.

All of tests/attacks.py is graded in one run, by `python test_attacks.py FOLDER` in a process of its own that has a
home, a temporary folder and a gradebook to lose. Every few attacks, a plain right and a plain wrong answer follow.
"""

import hashlib
import html.parser
import itertools
import json
import os
import pwd
import re
import sqlite3
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attacks
import pytest

ROOT = Path(__file__).resolve().parent.parent
SEED, THREADS, EVERY = 4711, 8, 8
EXPECTED_POINTS = {"ex90_softmax_shown": 1, "ex90_entropy_shown": 1, "ex90_softmax_unseen": 5, "ex90_entropy_unseen": 3}
# What harms its own task only: a right answer to the other task keeps its points.
OWN_TASK_ONLY = (23, 24, 25, 28, 33, 95, 96, 105, 144, 146, 147, 148, 155, 162, 165, 166, 206)


def release():
    """What learners get of the exercise, with expected outputs, as a dict."""
    from course_lib.classroom import release as released

    return json.loads(json.dumps(released.strip(released.solved(attacks.SOURCE, ROOT))))


# --- the run ---------------------------------------------------------------------------------------------------------

def main(folder):
    """Grade what lies in `folder`/class, attacks first; writes `folder`/graded.json."""
    from course_lib.classroom.grading import engine, intake, model, sandbox

    exercise, confined = engine.load_exercise(attacks.SOURCE), sandbox.kind() is not None
    submissions = intake.collect(folder / "class", [exercise])
    small, usual = model.Limits(**attacks.LIMITS), model.Limits()
    # Attacks that do not end by themselves get less time; those that have something to show, all that they need.
    # So does one that ends by itself and touches two gigabytes before: on a busy machine that takes a while.
    patient = {f"attack {attack.number}" for attack in attacks.ATTACKS if attack.shows} | {"own task 148"}
    hurried = {s.learner for s in submissions if s.learner.startswith(("attack", "own task"))
               and " ".join(s.learner.split()[:-1]) not in patient}
    graded = {}
    secrets = [attacks.DATA, folder / "class", folder / "out"]
    with engine.warm_pool([exercise], secrets, sandboxed=confined) as kernel:
        dry = engine.dry_run(exercise, SEED, usual, kernel)

        def one(submission):
            if submission.problem:
                return {"problem": submission.problem}
            limits = small if submission.learner in hurried else usual
            try:
                return engine.grade_one(engine.job(dry, submission, limits, kernel)) | {
                    "said": list(submission.notes), "sha256": submission.sha256}
            except Exception as error:  # noqa: BLE001 - it fails the test of this submission, not the run
                return {"failed": f"{type(error).__name__}: {error}"}

        ordered = sorted(submissions, key=lambda s: int(re.search(r"(\d+)$", s.learner)[1]))
        with ThreadPoolExecutor(THREADS) as pool:
            for submission, outcome in zip(ordered, pool.map(one, ordered), strict=True):
                graded[submission.learner] = outcome
        alive = [one(next(s for s in ordered if s.learner.startswith("next right")))]
    (folder / "graded.json").write_text(json.dumps({
        "graded": graded, "expected": dry.expected, "problem": dry.problem(), "exercise": dry.exercise.public(),
        "confined": confined, "alive": alive}))


def snapshot(*folders):
    """{path: hash of the content, or where a link leads} of everything below the folders."""
    found = {}
    for path in itertools.chain(*(folder.rglob("*") for folder in folders)):
        if not {"__pycache__", "matplotlib"} & {*path.parts}:  # what the grader itself may write
            found[str(path)] = (os.readlink(path) if path.is_symlink() else "folder" if path.is_dir() else
                                hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def forged():
    """Names of what attacks leave on a machine that does not hold them."""
    import site

    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    places = [Path(p) for p in ("/tmp", "/var/tmp", "/dev/shm", "/run", *site.getsitepackages())] + [home, ROOT]
    found = [str(path) for place in places if place.is_dir() for path in place.glob("forged*")]
    for name in (".ipython/profile_default/startup/00.py", ".bashrc", ".profile"):
        file = home / name
        found += [str(file)] * (file.is_file() and "builtins.forged" in file.read_text(errors="replace"))
    table = Path("/proc/sysvipc/shm")
    found += ["segment"] * (table.exists() and str(0x90909090 - 2**32) in table.read_text())
    return found


class Batch:
    """Everything graded once, with what the world looked like before and after."""

    def __init__(self, folder):
        self.folder = folder
        from course_lib.classroom.grading import sandbox

        self.attacks = [a for a in attacks.ATTACKS if sandbox.kind() or not a.only_sandboxed]
        number, nb = itertools.count(), release()

        def hand_in(name, built):
            attacks.write(built, folder / "class" / f"{name} {next(number)}")

        for count, attack in enumerate(self.attacks):
            hand_in(f"attack {attack.number}", attack.build(nb))
            if count % EVERY == 0:
                hand_in("next right", attacks.answered(nb, attacks.CORRECT))
                hand_in("next wrong", attacks.answered(nb, attacks.WRONG))
        for attack in self.attacks:
            if attack.number in OWN_TASK_ONLY:
                built = attack.build(nb)
                attacks.cell(built, "ex90_entropy")["source"] = attacks.CORRECT["ex90_entropy"]
                hand_in(f"own task {attack.number}", built)
        for count, right in enumerate(attacks.RIGHT):
            hand_in(f"right {count}", right.build(nb))
        self.prepare()
        self.before = snapshot(*self.watched), forged()
        env = os.environ | {"HOME": str(folder / "home"), "TMPDIR": str(folder / "t"), "SENTINEL_TOKEN": "SENTINEL"}
        done = subprocess.run([sys.executable, __file__, str(folder)], cwd=folder / "out", env=env, timeout=900,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        self.said = done.stdout + done.stderr
        data = json.loads((folder / "graded.json").read_text())
        (folder / "graded.json").unlink()
        self.after = snapshot(*self.watched), forged()
        self.expected, self.exercise, self.alive = data["expected"], data["exercise"], data["alive"]
        assert data["problem"] == ""
        self.graded = {" ".join(name.split()[:-1]): outcome for name, outcome in data["graded"].items()
                       if not name.startswith("next")}
        self.next = [(name, outcome) for name, outcome in data["graded"].items() if name.startswith("next")]

    def prepare(self):
        """What there is to lose: a home, a gradebook, files beside the output."""
        for name in ("home/.ipython/profile_default/startup/README", "home/.bashrc", "home/.ssh/id_sentinel",
                     "home/.local/lib/x", "out/grades.csv", "out/grades.jsonl", "out/grades_feedback/index.html"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text("SENTINEL wrong 0\n")
        with sqlite3.connect(self.folder / "out" / "gradebook.db") as base:
            base.execute("CREATE TABLE grade (learner, manual_score)")
            base.execute("INSERT INTO grade VALUES ('a', 0)")
        for name in ("t", "home/.cache", "home/.config"):
            (self.folder / name).mkdir()
        self.watched = [self.folder / name for name in ("home", "out", "class")] + [ROOT / "course_lib"]


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    return Batch(tmp_path_factory.mktemp("a"))


def points(outcome):
    """{check: points} of one graded submission; a broken one has none."""
    return {name: check["points"] for name, check in outcome.get("checks", {}).items()}


# --- what has to hold ------------------------------------------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.parametrize("attack", attacks.ATTACKS, ids=lambda attack: f"{attack.number:03d} {attack.name}")
def test_an_attack_is_not_paid(batch, attack):
    if attack not in batch.attacks:
        assert attack.only_sandboxed  # this machine has no sandbox to run it in
        return
    outcome = batch.graded[f"attack {attack.number}"]
    assert "failed" not in outcome, outcome
    assert [points(outcome).get(name, 0) for name in attacks.HIDDEN] == [attack.hidden_points] * 2
    shown = outcome.get("checks", {}).get("ex90_softmax_shown", {"got": None})["got"]
    if attack.shows is not None:
        assert re.search(attack.shows, shown or ""), f"{shown!r}: {outcome.get('notes')}"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(attacks.RIGHT)), ids=lambda number: attacks.RIGHT[number].name)
def test_a_right_answer_gets_full_marks(batch, number):
    outcome = batch.graded[f"right {number}"]
    assert points(outcome) == EXPECTED_POINTS, outcome


@pytest.mark.slow
def test_the_next_learner_gets_what_is_due(batch):
    assert len(batch.next) == 2 * -(-len(batch.attacks) // EVERY)
    for name, outcome in batch.next:
        right = "right" in name
        assert points(outcome) == {check: most * right for check, most in EXPECTED_POINTS.items()}, (name, outcome)


@pytest.mark.slow
def test_the_warm_server_outlives_them_all(batch):
    assert [points(outcome) for outcome in batch.alive] == [EXPECTED_POINTS]


@pytest.mark.slow
def test_a_bad_answer_costs_its_own_task_only(batch):
    lost = {}
    for name, outcome in batch.graded.items():
        if name.startswith("own task"):
            kept = {check: got for check, got in points(outcome).items() if "entropy" in check}
            if kept != {"ex90_entropy_shown": 1, "ex90_entropy_unseen": 3}:
                lost[name] = outcome
    assert not lost


@pytest.mark.slow
def test_nothing_outside_the_sandbox_changed(batch):
    files, found = batch.before
    changed = {path for path in {*files, *batch.after[0]} if files.get(path) != batch.after[0].get(path)}
    assert not changed
    assert batch.after[1] == found


@pytest.mark.slow
def test_nothing_is_left_behind(batch):
    import psutil

    assert not list((batch.folder / "t").iterdir()), "temporary files"
    left = [process.info for process in psutil.process_iter(["pid", "cmdline"])
            if "left_behind_by_an_answer" in (process.info["cmdline"] or ())]
    assert not left
    assert "FORGED" not in batch.said and "\x1b" not in batch.said


@pytest.mark.slow
def test_no_result_tells_what_is_hidden(batch):
    hidden = [batch.expected[name] for name in attacks.HIDDEN]
    for name, outcome in batch.graded.items():
        for check, row in outcome.get("checks", {}).items():
            if check in attacks.HIDDEN:
                assert row["got"] is None and row["reason"] is None, name
        text = json.dumps(outcome, ensure_ascii=False).replace("\\n", "\n").replace("\\", "")
        for secret in (*attacks.SECRETS, *hidden, f"COURSE_SEED = {SEED}", f'"{SEED}"', f"seed: {SEED}"):
            assert secret not in text, f"{name} tells {secret!r}"


@pytest.mark.slow
def test_pages_and_tables_made_of_attacks_are_harmless(batch, tmp_path):
    from course_lib.classroom.grading import feedback, gradebook, model

    exercise = model.Exercise.from_public(batch.exercise)
    results = []
    for name, outcome in batch.graded.items():
        status = model.BROKEN if "problem" in outcome else model.GRADED
        results.append(model.Result(f"=cmd|{name}<script>", exercise.name, "../" + name, status, checks=outcome.get(
            "checks", {}), notes=outcome.get("notes", []), problem=outcome.get("problem", "")))
    pages = [feedback.write_feedback(result, exercise, tmp_path / "pages") for result in results]
    assert len(set(pages)) == len(results)
    for page in (tmp_path / "pages").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        Inert().feed(text)
        assert not [secret for secret in attacks.SECRETS if secret in text], page.name
    for line in gradebook.csv_bytes(results, [exercise]).decode("utf-8-sig").splitlines():
        assert not re.search(r'(^|,)"?[=+@\t]', line), line


class Inert(html.parser.HTMLParser):
    """Fails on whatever could run, load or leave the page."""

    def handle_starttag(self, tag, attributes):
        assert tag not in {"script", "img", "iframe", "object", "embed", "svg", "form", "base", "video", "audio"}, tag
        for name, value in attributes:
            assert not name.startswith("on") and not re.match(r"\s*(javascript|data|https?):", value or "", re.IGNORECASE)


# --- the attacks themselves ------------------------------------------------------------------------------------------

def test_there_are_enough_attacks_each_with_a_number_a_name_and_a_reason():
    numbers = [attack.number for attack in attacks.ATTACKS]
    assert len(set(numbers)) == len(numbers) == len({attack.name for attack in attacks.ATTACKS})
    known = {*range(2, 34), 40, 41, 42, 45, 50, 51} - {34}
    assert {n for n in numbers if n <= 51} == known
    assert len([n for n in numbers if n > 51]) >= 100
    assert all(attack.why and len(attack.name) < 60 for attack in attacks.ATTACKS)
    assert len({right.name for right in attacks.RIGHT}) == len(attacks.RIGHT) >= 40


@pytest.mark.slow
def test_builders_are_deterministic_and_leave_the_release_alone():
    import copy

    from course_lib.classroom import release as released

    nb = json.loads(json.dumps(released.strip(released.load(attacks.SOURCE))))
    for name in attacks.VISIBLE:
        attacks.cell(nb, name)["outputs"] = [{"output_type": "execute_result", "metadata": {}, "execution_count": 1,
                                              "data": {"text/plain": attacks.text("shown")}}]
    before = copy.deepcopy(nb)
    for each in (*attacks.ATTACKS, *attacks.RIGHT):
        assert each.build(nb) == each.build(nb), each.name
    assert nb == before


def test_the_search_of_memory_finds_what_lies_there_and_not_itself():
    if not Path("/proc/self/maps").exists():
        return  # that attack is one on Linux
    code = next(row["code"] for row in tomllib.loads((attacks.DATA / "attacks.toml").read_text("utf-8"))["attack"]
                if row["number"] == 120)
    hidden = "keep = '### BEGIN SOL' + 'UTION' + chr(10) + 'def soft' + 'max(x): return x' * 9"
    for before, found in (("", "in memory: nothing"), (hidden, "in memory: [b")):
        run = subprocess.run([sys.executable, "-c", f"{before}\nSAID = []\nexec({code!r})\nprint(*SAID)"],
                             capture_output=True, text=True, timeout=60, check=True)
        assert run.stdout.startswith(found), (before, run.stdout[:300], run.stderr)


def test_dangerous_payloads_end_outside_a_sandbox():
    import tomllib

    rows = tomllib.loads((attacks.DATA / "attacks.toml").read_text(encoding="utf-8"))["attack"]
    guarded = [row for row in rows if row.get("only_sandboxed") and not row["code"].startswith("%%")]
    assert len(guarded) >= 40
    if attacks.namespace():
        for row in guarded:
            guard = attacks.payload(row).partition("raise SystemExit")[0] + "raise SystemExit(0)"
            with pytest.raises(SystemExit):
                exec(guard, {})  # noqa: S102 - the guard alone, not what it guards


def test_mutants_of_the_attacked_exercise_are_wrong():
    """Against the solution, in this process: the grader has no part in it."""
    from generated import truth

    from course_lib.classroom import release as released

    for row in released.mutants(attacks.SOURCE):
        scores = truth(attacks.SOURCE, SEED, {row["cell"]: row["code"]})
        assert not all(scores.values()), row["name"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
