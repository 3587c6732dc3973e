"""Search and its index (protocol.md#search; store.md#search-index)."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reed.errors import Malformed, NotFound
from reed.store.folding import fold
from reed.store.query import parse


def names(driver, query, *window):
    type_name, limit, offset = (*window, *("", 0, 0)[len(window) :])
    return [hit.semantic_name for hit in driver.search(query, type_name, limit, offset).hits]


@pytest.fixture
def library(driver):
    driver.create("page", "cafe", {"title": "Café au lait", "body": "Hot milk, strong coffee. " * 3})
    driver.create("page", "milk", {"title": "Milk", "body": "From cows", "keywords": ["dairy", "drink"]})
    driver.create("page", "cows", {"title": "Cows", "body": "They give milk " + "and eat grass " * 40})
    driver.create("note", "note", {"title": "Milk is not searched here"})
    return driver


def test_words_phrases_prefixes_and_diacritics(library):
    assert names(library, "coffee") == ["cafe"]
    assert names(library, "COFF") == ["cafe"]
    assert names(library, "coff milk") == [], "only the last word may be a beginning"
    assert names(library, "mi") == names(library, "milk")
    assert names(library, "m") == [], "a single letter is a word"
    assert names(library, "milk coff") == ["cafe"], "all words must be there"
    assert names(library, "cafe") == names(library, "CAFÉ") == names(library, "cafe\u0301") == ["cafe"]
    assert names(library, '"hot milk"') == ["cafe"]
    assert names(library, '"milk hot"') == []
    assert names(library, '"strong coff"') == [], "a phrase has whole words"
    assert names(library, '"strong coffee') == ["cafe"], "a quote that is not closed"
    assert names(library, "dairy") == ["milk"], "strings in an array are searched"


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("Straße", "strasse"),
        ("GRUẞ", "gruss"),
        ("Æblegrød", "aeblegrod"),
        ("SØREN", "soren"),
        ("cœur", "coeur"),
        ("Łódź", "lodz"),
        ("Đorđe", "dorde"),
        ("ılık", "ilik"),
    ],
)
def test_ligatures_and_strokes_are_folded(driver, written, plain):
    driver.create("page", "written", {"title": f"Die {written} 7", "body": "x " * 50})
    driver.create("page", "plain", {"title": f"Die {plain} 7", "body": "y " * 50})
    both = {"written", "plain"}
    for query in (written, plain, written.upper(), plain[:3], f'"die {plain} 7"', f'"{written} 7"'):
        assert set(names(driver, query)) == both, query
    for hit in driver.search(plain, "", 0, 0).hits:
        assert hit.excerpt == f"Die {written if hit.semantic_name == 'written' else plain} 7"
    driver.delete("written", False)
    assert names(driver, written) == ["plain"]


WORD = st.text(st.sampled_from("ßẞæÆøØœŒłŁđĐıéÜaoesldi"), min_size=2, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORD, min_size=1, max_size=5, unique=True), st.data())
def test_folded_and_original_forms_find_each_other(driver, words, data):
    snippet = driver.create("page", "", {"title": " ".join(words)})
    word = data.draw(st.sampled_from(words))
    for query in (f'"{word}"', f'"{" ".join(words[: words.index(word) + 1])}"', word):
        found, folded = (driver.search(text, "", 1000, 0).hits for text in (query, fold(query)))
        assert found == folded
        assert {hit.id: hit.excerpt for hit in found}[snippet] == " ".join(words)
    driver.delete(snippet, False)


FOUND = [
    # text, query
    ("東京都庁の展望台から", "展望台"),
    ("東京都庁の展望台から", "東京"),
    ("東京都庁の展望台から", "から"),
    ("東京都庁の展望台から", "台"),
    ("東京都庁の展望台から", '"展望台から"'),
    ("Python入門の本", "Python"),
    ("Python入門の本", "入門"),
    ("Python入門の本", "python入門"),
    ("新入門Python", "入門Python"),
    ("ガーデン", "ガーデン"),
    ("ガーデン", "ｶﾞｰﾃﾞﾝ"),
    ("한국어를 배우다", "한국어"),
    ("대한민국", "민국"),
    ("我爱北京天安门", "天安门"),
    ("สวัสดีชาวโลก", "ชาวโลก"),
    ("ສະບາຍດີຊາວໂລກ", "ຊາວໂລກ"),
    ("ភាសាខ្មែរ", "ខ្មែរ"),
    ("မြန်မာစာ", "မာစာ"),
    ("हिन्दी भाषा", "हिन्दी"),
    ("Οδυσσεύς", "ΟΔΥΣΣΕΥΣ"),
    ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
    ("Ёлка и йод", "елка"),
    ("בְּרֵאשִׁית בָּרָא", "בראשית"),
    ("בראשית", "בְּרֵאשִׁית"),
    ("مُحَمَّد", "محمد"),
    ("أحمد", "احمد"),
    ("ســـلام", "سلام"),
    ("co\u00adop\u00aderate", "cooperate"),
    ("zero\u200bwidth", "zerowidth"),
    ("می\u200cخواهم", "میخواهم"),
    ("ＡＢＣ１２３", "abc123"),
    ("eﬃcient ﬁle", '"efficient file"'),
    ("ﬁle", "fi"),
    ("Straße", "STRASSE"),
    ("İstanbul", "istanbul"),
    ("Ångström", "angstrom"),
    ("naïve café", "naive cafe"),
    ("x² + ½", "x2"),
]
NOT_FOUND = [
    ("ガーデン", "カーテン"),
    ("東京都庁", "京東"),
    ("東京 都庁の展望 台", "展望台"),
    ("しか", "しが"),
    ("हिन्दी", "हन्दु"),
]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(("text", "query"), FOUND)
def test_equivalent_spellings_are_found(driver, text, query, form):
    driver.create("page", "it", {"title": unicodedata.normalize(form, text), "body": "x"})
    driver.create("page", "other", {"title": "something else", "body": "別の何か"})
    for typed in {query, unicodedata.normalize("NFC", query), unicodedata.normalize("NFD", query)}:
        assert names(driver, typed) == ["it"], ascii(typed)
    (hit,) = driver.search(query, "", 0, 0).hits
    assert hit.excerpt == unicodedata.normalize(form, text)


@pytest.mark.parametrize(("text", "query"), NOT_FOUND)
def test_other_words_are_not_found(driver, text, query):
    driver.create("page", "it", {"title": text})
    assert names(driver, query) == []


ANY_SCRIPT = st.text(st.sampled_from("aÉßςΣفأכּカガの京東한국สีहि ﬁＡ\u0301\u00ad\u200b-_.1"), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("1ส1ส1ส1สิa", "NFC", str)
@example("1ส1ส1ส1สि1", "NFC", str)
@example("हिहिहिहि हि हि हि हि हि हिहि", "NFC", str)
@given(ANY_SCRIPT, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]), st.sampled_from([str, str.upper, str.lower]))
def test_a_text_is_found_in_any_case_and_normal_form(driver, text, form, case):
    typed = unicodedata.normalize(form, case(text))
    try:
        parse(typed)
    except Malformed:
        return
    snippet = driver.create("page", "", {"title": f"before {text} after"})
    assert snippet in {hit.id for hit in driver.search(f'"{typed}"', "", 1000, 0).hits}
    driver.delete(snippet, False)


def test_the_first_mebibyte_of_a_text_is_indexed(driver):
    text = "x " * 500_000 + "needle " + "y " * 100_000 + "haystack"
    driver.create("page", "long", {"title": "Long", "body": text})
    assert names(driver, "needle") == ["long"]
    assert names(driver, "haystack") == []
    assert "needle" in driver.search("needle", "", 0, 0).hits[0].excerpt


@pytest.mark.parametrize("query", ["", "  ", "!!!", '""', "___", "\u0301", "🐄"])
def test_a_query_without_a_word_is_refused(library, query):
    with pytest.raises(Malformed) as caught:
        library.search(query, "", 0, 0)
    assert caught.value.status == 400
    assert caught.value.hint


@pytest.mark.parametrize("length", [100, 10_000])
def test_a_hit_in_a_title_outranks_any_number_in_a_body(driver, length):
    driver.define("doc", {"searchable": {"title": 5, "body": 1}})
    driver.create("doc", "configure", {"title": "Configure privacy", "body": "settings " * 50})
    driver.create("doc", "all", {"title": "All settings", "body": "a long text about other things " * length})
    for number in range(20):
        driver.create("doc", f"other-{number}", {"title": "Something else", "body": "words and more words " * 20})
    assert names(driver, "settings") == ["all", "configure"]


def test_hits_are_sorted_by_weight(library):
    page = library.search("milk", "", 0, 0)
    assert page.total == 3
    assert [hit.semantic_name for hit in page.hits] == ["milk", "cafe", "cows"]
    assert [hit.score for hit in page.hits] == sorted((hit.score for hit in page.hits), reverse=True)
    best = page.hits[0]
    assert (best.id, best.snippet_type) == (library.get("milk").id, "page")
    assert "milk" in page.hits[2].excerpt
    assert len(page.hits[2].excerpt) < 300
    assert "\n" not in best.excerpt


def test_limit_and_offset_of_hits(library):
    whole = names(library, "milk")
    assert names(library, "milk", "", 2, 0) == whole[:2]
    assert names(library, "milk", "", 2, 2) == whole[2:]
    assert library.search("milk", "", 1, 5) == (3, [])
    assert library.search("milk", "note", 0, 0) == (0, [])
    assert names(library, "milk", "page") == whole
    with pytest.raises(NotFound):
        library.search("milk", "pages", 0, 0)
    for limit, offset in ((1001, 0), (1, 2**32 - 1)):
        with pytest.raises(Malformed):
            library.search("milk", "", limit, offset)


def test_a_search_sees_every_acknowledged_write(library):
    library.update("milk", 0, {"title": "Butter"})
    assert names(library, "butter") == ["milk"]
    library.delete("cows", False)
    assert names(library, "grass") == []
    library.create("page", "grass", {"title": "Grass"})
    assert names(library, "grass") == ["grass"]
    library.update("grass", 0, {"title": "Hay"})
    library.delete("grass", False)
    assert names(library, "hay") == names(library, "grass") == []


def test_indexing_again_gives_the_number_of_snippets(library):
    assert library.index("") == 4
    assert library.index("milk") == 1
    assert names(library, "milk") == ["milk", "cafe", "cows"]
    with pytest.raises(NotFound):
        library.index("nothing")


def test_indexing_an_empty_store(driver):
    assert driver.index("") == 0


def test_new_searchable_fields_are_indexed(library):
    assert names(library, "here") == []
    library.define("note", {"searchable": {"title": 1}})
    assert names(library, "here") == ["note"]
    library.define("note", {})
    assert names(library, "here") == []


def test_a_weight_is_rounded_to_the_nearest_column(driver):
    for field, weight in (("low", 0.01), ("high", 10**9), ("odd", 2.4)):
        driver.define(f"{field}-type", {"searchable": {field: weight}})
        driver.create(f"{field}-type", field, {field: "wombat"})
    assert names(driver, "wombat") == ["high", "odd", "low"]


def test_numbers_and_nested_texts_are_searched(driver):
    driver.define("thing", {"searchable": {"data": 1, "more": 1}})
    driver.create("thing", "t", {"data": {"a": [{"b": "needle"}], "year": 1984, "yes": True}, "more": "last"})
    for query in ("needle", "1984", "last"):
        assert names(driver, query) == ["t"]
    assert names(driver, "true") == names(driver, "year") == []


SYNTAX = st.lists(
    st.sampled_from(
        ['"', "*", "AND", "OR", "NOT", "NEAR(", "(", ")", ":", "w0:", "-", "+", "^", "{", "}", " ", "\0", "'"]
    )
    | st.text(max_size=4),
    max_size=12,
).map("".join)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SYNTAX | st.text())
@example("\ud800")
@example('"')
@example("___")
@example("a" * 70_000)
@example("milk " * 10_000)
@example('"' + "a-" * 10_000)
@example("(" * 5_000)
@example("\u0301")
@example("\U0001f404 🐄")
def test_any_text_is_a_query(library, query):
    try:
        parse(query)
    except Malformed:
        return
    page = library.search(query, "", 5, 0)
    assert page.total >= len(page.hits)


def test_a_word_of_the_content_finds_it(library):
    """Every word of a content can be found."""
    words = ["naïve", "x_y", "o'neil", "C++", "日本", "Ω", "3.14", "état", "ß", "ﬁ"]
    for number, word in enumerate(words):
        library.create("page", f"w{number}", {"title": word})
    for number, word in enumerate(words):
        assert f"w{number}" in names(library, word), word
        assert f"w{number}" in names(library, f'"{word}"'), word


def test_a_search_does_not_starve_under_writes(driver):
    for number in range(300):
        driver.start("create", "page", "", {"title": f"zebra {number}"})
    driver.settle()
    answer = driver.start("search", "zebra", "", 1, 0)
    for number in range(300):
        if answer.is_there:
            break
        driver.start("create", "page", "", {"title": f"horse {number}"})
        driver.settle()
    assert answer.value.total == 300
