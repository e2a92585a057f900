"""Damaged files give a sentence: random changes, and the verbs that read what was changed."""

from collections import Counter

from support import damage, damage_cases
from support.effort import effort

TRIALS = 500


def test_whatever_is_damaged_gives_a_sentence_and_loses_nothing(tmp_path):
    damage_cases.make(tmp_path / "everything")
    count = effort(TRIALS, 4 * TRIALS)
    done = list(damage.trials(tmp_path / "everything", range(count), seed=0))
    assert [trial for trial in done if trial.problem] == []
    codes = Counter(trial.code for trial in done)
    assert codes[2] > count // 3  # else nothing is damaged
    assert codes[0] > count // 10  # else nothing can be read
