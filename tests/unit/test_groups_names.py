# SPDX-License-Identifier: Apache-2.0
"""Texts: what is compared as the same, what goes back as it came, and which names people can use."""

from __future__ import annotations

import html
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.adobe.audience_manager import checked_name
from airflow_provider_adobe_audiences.errors import AmbiguousGroupsError, DesiredStateError
from airflow_provider_adobe_audiences.groups.limits import Limits
from airflow_provider_adobe_audiences.groups.live import Live, Scope
from airflow_provider_adobe_audiences.groups.names import canonical_name, look_alike, same_text, unescaped
from airflow_provider_adobe_audiences.groups.plan import make
from airflow_provider_adobe_audiences.groups.spec import DesiredState, load_value
from airflow_provider_adobe_audiences.groups.sync import apply, plan
from tests.unit.groups_model import FastAdobe, group

ADDRESS = "https://wiki.example/p?id=1&timestamp=5&region=eu"
texts = st.one_of(
    st.text(max_size=30),
    st.lists(
        st.sampled_from(["&amp;", "&lt;", "&times", "&reg;", "&#38;", "&#x26;", "<b>", "&", ";", "a", " "]),
        max_size=8,
    ).map("".join),
)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        (ADDRESS, ADDRESS),
        ("R&amp;D", "R&D"),
        ("R&D", "R&D"),
        ("&lt;b&gt;", "<b>"),
        ("&lt;b&gt; & <i>", "&lt;b&gt; & <i>"),
        ("AT&T&amp;T", "AT&T&amp;T"),
        ("&nosuchentity;", "&nosuchentity;"),
        ("&amp", "&amp"),
        ("&#38;&#x26;", "&&"),
    ],
)
def test_only_what_an_escaper_can_have_written_is_unescaped(text, means):
    assert unescaped(text) == means


@given(texts)
def test_an_escaped_text_is_recognised_whatever_it_says(text):
    assert unescaped(html.escape(text)) == text or "&" not in html.escape(text)
    assert same_text(html.escape(text), text)
    assert same_text(text, text)


def declare(*groups: dict[str, object]) -> DesiredState:
    return load_value({"groups": list(groups)})


@pytest.mark.parametrize("text", [ADDRESS, "&lt;b&gt;", "R&amp;D", " blanks\n", "<b>", "e\u0301"])
def test_a_mere_rename_sends_a_description_back_as_it_came(text):
    (change,) = make(
        declare({"name": "B", "previously": ["A"]}), Live((group(1, "A", text),)), target="x"
    ).changes

    assert (change.kind, change.after.description) == ("rename", text)


@pytest.mark.parametrize("name", ["  EMEA ", "R&amp;D", "Cafe\u0301", "a &lt; b"])
def test_a_mere_description_sends_a_name_back_as_it_came(name):
    desired = declare({"name": canonical_name(name), "description": "new"})

    (change,) = make(desired, Live((group(1, name, "old"),)), target="x").changes

    assert (change.kind, change.after.name, change.after.description) == ("update", name, "new")


def test_a_literal_escape_that_is_declared_is_not_what_it_stands_for():
    live = Live((group(1, "A", "<b>"),))

    (change,) = make(declare({"name": "A", "description": "&lt;b&gt;"}), live, target="x").changes

    assert change.after.description == "&lt;b&gt;"
    done = Live((group(1, "A", "&lt;b&gt;"),))
    assert make(declare({"name": "A", "description": "&lt;b&gt;"}), done, target="x").changes == ()


@settings(max_examples=300, deadline=None)
@given(texts, st.sampled_from(["A", " A ", "A&amp;B"]), st.booleans())
def test_what_is_not_managed_survives_every_update_to_the_last_character(text, name, escapes):
    adobe = FastAdobe(escapes=escapes)
    adobe.add(name, text)
    desired = declare({"name": "C", "previously": [name]}, {"name": "D", "description": text})

    made, live = plan(adobe.send, desired, target="x", scope=Scope(), limits=Limits(), concurrency=1)
    apply(adobe.send, made.changes, live, concurrency=1)

    assert adobe.stored[1].group["name"] == "C"
    assert adobe.stored[1].group["description"] == text
    assert (adobe.stored[2].group["description"] or "") == text.strip()
    again, _ = plan(adobe.send, desired, target="x", scope=Scope(), limits=Limits(), concurrency=1)
    assert again.changes == ()


@given(texts.filter(str.strip), st.booleans())
def test_a_name_that_is_not_changed_survives_a_new_description(name, escapes):
    adobe = FastAdobe(escapes=escapes)
    adobe.add(name, "old")
    desired = declare({"name": "whatever", "groupId": 1, "description": "new"})
    kept = desired.groups[0].model_copy(update={"name": name})
    desired = desired.model_copy(update={"groups": (kept,)})

    made, live = plan(adobe.send, desired, target="x", scope=Scope(), limits=Limits(), concurrency=1)
    apply(adobe.send, made.changes, live, concurrency=1)

    assert adobe.stored[1].group["name"] == name
    assert adobe.stored[1].group["description"] == "new"


# -- names that people use, and names that nobody can tell apart

GOOD = [
    "👩‍💻 developers",
    "می‌خواهم",
    "東京\u3000分析",
    "Équipe\u00a0A",
    "Großkunden",
    "עברית",
    "soft\u00adhyphen",
]


@pytest.mark.parametrize("name", GOOD)
def test_names_that_people_use_are_taken(name):
    assert checked_name(name) == name
    assert declare({"name": name}).groups[0].name == name


@pytest.mark.parametrize(
    "name", ["a\nb", "a\rb", "a\tb", "a\x00b", "a\x1b[31mb", "a\x85b", "a\u2028b", "a\u202eb", "a\u2066b"]
)
def test_control_characters_and_line_breaks_are_refused(name):
    with pytest.raises(ValueError, match=r"characters that cannot be seen.*U\+"):
        checked_name(name)
    with pytest.raises(DesiredStateError, match="characters that cannot be seen"):
        declare({"name": name})


ALIKE = [
    ("EMEA Analysts", "emea analysts"),
    ("Großkunden", "GROSSKUNDEN"),
    ("EMEA Analysts", "EMEA\u00a0Analysts"),
    ("EMEA Analysts", "EMEA\u3000Analysts"),
    ("EMEA Analysts", "EMEA  Analysts"),
    ("EMEA Analysts", "EMEA Ana\u200blysts"),
    ("EMEA Analysts", "EMEA Analysts\u200d"),
    ("EMEA", "\uff25\uff2d\uff25\uff21"),
    ("Ⅳ", "IV"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_names_that_nobody_can_tell_apart_are_never_two_groups_in_silence(one, other):
    assert look_alike(one) == look_alike(other)
    live = Live((group(1, other),))
    with pytest.raises(AmbiguousGroupsError, match="a person cannot tell them apart"):
        make(declare({"name": one}), live, target="x")
    with pytest.raises(DesiredStateError, match="cannot be told from"):
        declare({"name": one}, {"name": other})
    # Renamed on purpose, it is the same group.
    (change,) = make(declare({"name": one, "groupId": 1}), live, target="x").changes
    assert (change.kind, change.before.name, change.after.name) == ("rename", other, one)


@pytest.mark.parametrize(("one", "other"), [*ALIKE, ("Café", "Cafe\u0301")])
def test_what_looks_like_a_protected_or_declared_name_is_never_deleted(one, other):
    everything = Scope(prune=True, managed_groups=".*")
    live = Live((group(1, one), group(2, other)))

    made = make(declare({"name": one, "groupId": 1}), live, target="x", scope=everything)
    assert made.deletes == []
    assert {finding.kind for finding in made.findings} == {"name", "kept"}

    protected = Scope(prune=True, managed_groups=".*", protected=[one])
    assert make(declare(), Live((group(2, other),)), target="x", scope=protected).deletes == []


def test_composed_and_decomposed_names_are_the_same_group():
    assert unicodedata.normalize("NFC", "Cafe\u0301") == "Café"
    assert make(declare({"name": "Café"}), Live((group(1, "Cafe\u0301"),)), target="x").changes == ()


# -- a scope that covers nothing


def test_a_scope_that_covers_nothing_is_told():
    live = Live((group(1, "EMEA a"),))
    wrong = make(declare({"name": "EMEA a"}), live, target="x", scope=Scope(managed_groups="EMAE .*"))
    assert [(finding.kind, finding.drift) for finding in wrong.findings] == [("scope", True)]
    gone = make(declare({"name": "EMEA a"}), live, target="x", scope=Scope(managed_groups=[1, 7]))
    assert [(finding.message, finding.drift) for finding in gone.findings] == [
        ("managed_groups names ids that no group has: 7", False)
    ]
    slip = make(declare({"name": "EMEA a"}), live, target="x", scope=Scope(protected=["Admnis"]))
    assert [(finding.kind, finding.name) for finding in slip.findings] == [("notice", "Admnis")]
    first = make(declare({"name": "EMEA b"}), live, target="x", scope=Scope(managed_groups="EMEA b"))
    assert first.findings == ()


@pytest.mark.parametrize(
    "text", ["[1001, 1002]", "['1001']", "(1, 2)", "[]", "None", " ", '["EMEA a", "EMEA b"]']
)
def test_a_list_that_became_text_is_no_pattern(text):
    with pytest.raises(ValueError, match="became text: pass the value itself"):
        Scope(managed_groups=text)


@pytest.mark.parametrize("pattern", ["[A-Z].*", "[0-9]+", "(EMEA|APAC) .*", "[^E].*", "1001"])
def test_a_pattern_that_begins_like_a_list_is_one(pattern):
    assert Scope(managed_groups=pattern).managed_groups == pattern
