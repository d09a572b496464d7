"""The documentation is true: its examples give what it shows, its links lead somewhere, its reference is the code's."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.report import page
from tools import pages, reference

ROOT = Path(__file__).resolve().parents[2]
EVERY = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
MADE_LATER = {"docs/benchmarks.md", "docs/coverage.md"}  # written by make bench and make coverage


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.filterwarnings("default")  # other people's libraries warn as they like; output is compared all the same
@pytest.mark.parametrize("path", pages.pages(), ids=name)
def test_every_example_gives_what_the_page_shows(path: Path) -> None:
    examples = pages.run_page(path)
    assert examples, "the page has blocks, and none of them is an example"
    wrong = [str(e) for e in examples if not e.right]
    assert not wrong, "make docs puts the real output into the page:\n" + "\n".join(wrong)


def test_a_page_that_is_wrong_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "```python\n>>> 1 + 1\n3\n>>> x = 2\n```\ntext\n```python\n>>> x * 2\n4\n>>> 1 / 0\n```\n"
        "```console\n$ weightwalk --version\nweightwalk 9\n"
        '$ weightwalk nope; echo "exit code $?"\n...\nexit code 2\n```\n'
    )
    first, silent, again, error, version, nope = pages.run_page(page)
    assert not first.right and first.actual == "2\n"
    assert silent.right and silent.actual == ""
    assert again.right, "a name of one block is known in the next"
    assert not error.right and error.actual.endswith("ZeroDivisionError: division by zero\n")
    assert not version.right and version.actual.startswith("weightwalk 0.")
    assert nope.right and "there is no command 'nope'" in nope.actual
    assert pages.rewrite(page, [first, silent, again, error, version, nope]) == 3
    assert all(e.right for e in pages.run_page(page))
    assert "page.md:3" in str(first)


@pytest.mark.parametrize(
    ("shown", "actual", "near", "right"),
    [
        ("a  b\n", "a b", None, True),
        ("a b", "a c", None, False),
        ("1.25 x", "1.250 x", None, False),
        ("begin ... end", "begin\n1\n2\nend", None, True),
        ("begin ... end", "begin", None, False),
        ("y = 2.0001 of 5 steps", "y = 1.9999 of 5 steps", 1e-3, True),
        ("y = 2.0001 of 5 steps", "y = 1.9999 of 6 steps", 1e-3, False),
        ("y = 2.01", "y = 1.99", 1e-3, False),
        ("1,234.5 1e-7", "1,234.6 2.1e-07", 1e-3, True),
        ("  = 1.5  out\n  -0.0000003  rounding", "  = 1.5  out", 1e-3, True),
        ("  = 1.5  out\n  -0.0000003  rounding", "  = 1.5  out", None, False),
        ("head 0  0.2  0", "head 0  0.2  -0.000001", 1e-3, True),
        ("head 0", "head 1", 1e-3, False),
        ("38,336 parameters", "38,337 parameters", 1e-3, False),
        ("0.weight[4, 2]", "0.weight[4, 3]", 1e-3, False),
        ("9 steps; worst at a, 0.5 of its bound", "9 steps; worst at b, 0.1 of its bound", 1e-3, True),
        ("9 steps; worst at a, 0.5 of its bound", "8 steps; worst at b, 0.1 of its bound", 1e-3, False),
        ("+61.47 %  ▇▇▇  in", "+61.47 %  ▇▇  in", 1e-3, True),
        ("", "said something", None, False),
        ("worst: 0.5 of its bound", "", 1e-3, False),
    ],
)
def test_what_counts_as_the_same_output(shown: str, actual: str, near: float | None, right: bool) -> None:
    assert pages.same(shown, actual, near) is right


def test_the_reference_is_what_the_code_says() -> None:
    assert [name(p) for p in reference.stale()] == [], "make docs writes them anew"


def test_the_reference_has_every_public_name() -> None:
    import weightwalk as ww

    told = {n.partition(":")[2] for names in reference.API.values() for n in names}
    assert set(ww.__all__) - {"__version__"} <= told


VERBS = [n for names in reference.API.values() for n in names if n.rpartition(":")[2].islower()]


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_says_what_it_raises_and_shows_itself(name: str) -> None:
    module, _, verb = name.partition(":")
    text = getattr(import_module(module), verb).__doc__
    assert all(part in text for part in ("Args:", "Raises:", "Example:", ">>> ")), text


def test_the_picture_is_of_the_walk_that_it_says() -> None:
    """Same words, same numbers (the last digits belong to the machine that trained the net)."""
    drawn = re.findall(r">([^<>]+)</text>", reference.picture("walk.svg"))
    shown = re.findall(r">([^<>]+)</text>", (ROOT / "docs/images/walk.svg").read_text(encoding="utf-8"))
    assert "embed[0]" in shown
    assert pages.same("\n".join(shown), "\n".join(drawn), 5e-3)


def test_the_picture_of_the_plane_names_its_tokens_and_says_what_is_seen() -> None:
    """Where the kinks lie belongs to the machine that trained the net; the words do not."""
    for text in (reference.picture("plane.svg"), (ROOT / "docs/images/plane.svg").read_text(encoding="utf-8")):
        words = re.findall(r">([^<>]+)</text>", text)
        assert {"hello", "world", "cat", "dog", "!", "greatest output"} <= set(words)


def test_the_readme_takes_its_measurements_from_the_page() -> None:
    def row(ratio: float) -> dict[str, object]:
        return {"rounds": [[1.0, 1.0, ratio, ratio]] * 3, "holds": "a | b"}

    def section(title: str, **rows: object) -> dict[str, object]:
        subject = {"net": "gpt2", "device": "cpu"}
        return {"title": title, "subject": subject, "rows": rows, "absent": {"nnsight": "not installed"}}

    versions = {"torch": "2", "nnsight": None}
    machine = dict.fromkeys(("processor", "cores", "memory_gib", "system", "cuda", "date", "python", "commit"), "")
    results = {
        "machine": {**machine, "processor": "a box", "threads": 1, "versions": versions},
        "run": {"rounds": 3, "load_before": 0.0, "load_after": 0.0},
        "sections": {
            "recording": {
                "long": section("512 tokens", ours=row(1.25), theirs=row(2.5)),
                "five": section("five", ours=row(9)),
            },
            "readings": {"long": section("512 tokens: readings", verify=row(3))},
        },
    }
    told = reference.measured(page(results))
    assert "|  | 512 tokens | five |" in told and "a box" in told
    assert (
        "| ours | 1.25 | 9.00 |" in told and "| theirs | 2.50 |  |" in told and "| nnsight | absent | absent |" in told
    )
    assert "verify" not in told and "not installed" not in told
    assert reference.measured("# Benchmarks\n") == ""


def test_the_readme_takes_the_sum_of_the_coverage() -> None:
    assert (
        reference.covered("| a |\n\nIn all: 2 nets, 9 steps, 9 proven. Nearest to its bound: 1.\n")
        == " 2 nets, 9 steps, 9 proven."
    )
    assert reference.covered("# Coverage\n") == ""


def test_the_readme_keeps_its_marks() -> None:
    with pytest.raises(ValueError, match="has lost the marks <!-- coverage:start --> and <!-- coverage:end -->"):
        reference._between("no marks", "coverage", "text")
    assert (
        reference._between("a <!-- x:start -->old<!-- x:end --> b", "x", "new")
        == "a <!-- x:start -->new<!-- x:end --> b"
    )


def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if there.is_relative_to(ROOT) and name(there) in MADE_LATER:
            continue
        assert there.exists(), f"{name(page)} links to {target}"
        assert not anchor or anchor in anchors(there), f"{name(there)} has no heading for #{anchor}"


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_pages_know_nothing_of_one_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(home|root|tmp|opt|work|Users)/", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_shown_outputs_do_not_depend_on_versions(page: Path) -> None:
    """Python's, torch's and the machine's own names in an output would be wrong on the next machine."""
    blocks = "".join(body for _, body in pages.FENCE.findall(page.read_text(encoding="utf-8")))
    assert not re.search(r"python 3\.\d|torch \d|\+cpu|x86_64|aarch64", blocks)
