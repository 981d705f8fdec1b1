"""Every cell, in strict and in lenient mode, against what modal 1.6.4 was recorded to do."""

from pathlib import Path

import pytest

from . import harness

ROOT = Path(__file__).parents[2]
DIFFERENCES = ROOT / "docs" / "differences.md"

CELLS = harness.all_cells()
OF_STRICT = {"network", "by-reference", "fault", "other"}

# How many programs there are at least.
FEWEST_CELLS = 300

# How many differences of strict mode may have no better reason than a text.
MOST_OTHERS = 5


def compare(cell, strict):
    recorded = harness.recording(cell.topic).get(cell.name)
    assert recorded is not None, "not recorded: run `python -m tests.differential record`"
    assert not harness.is_stale(cell, recorded), "the cell has changed: record it anew"
    outcomes = harness.outcomes_here(cell.topic, strict)
    assert cell.name in outcomes, f"no outcome: {outcomes.get('_ended')}"
    names = harness.names_of_ours()
    return harness.differences(cell, recorded, outcomes[cell.name], names)


@pytest.mark.parametrize("cell", [pytest.param(cell, id=cell.id) for cell in CELLS])
def test_strict(cell):
    found = compare(cell, strict=True)
    if cell.differs.keys() & OF_STRICT:
        assert found, f"agrees by now: take away its {cell.differs}"
    else:
        assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=cell.id) for cell in CELLS if not cell.differs.keys() & OF_STRICT],
)
def test_lenient(cell):
    found = compare(cell, strict=False)
    if "lenient" in cell.differs:
        assert found, "agrees by now: take away its `# differs: lenient`"
    else:
        assert not found, "\n".join(found)


def test_other_differences_are_few_and_documented():
    others = {cell.id: cell.differs["other"] for cell in CELLS if "other" in cell.differs}
    assert len(set(others.values())) <= MOST_OTHERS
    documented = DIFFERENCES.read_text() if DIFFERENCES.exists() else ""
    assert [text for text in others.values() if text not in documented] == []


def test_there_are_many_cells_that_agree():
    assert len(CELLS) >= FEWEST_CELLS
    assert sum(bool(cell.differs.keys() & OF_STRICT) for cell in CELLS) < len(CELLS) / 10


def test_nothing_is_recorded_that_is_no_cell():
    recorded = {path.stem for path in harness.RECORDED.glob("*.json")} - {"_package", "_surface"}
    assert recorded == set(harness.topics())
    for topic in recorded:
        names = {cell.name for cell in CELLS if cell.topic == topic}
        assert set(harness.recording(topic)) == names
