"""Numbers in a lesson's prose: each is a cited fact, or stands in a checked output of the same notebook.

A published number is written as a link to its fact, `[1,287 MWh](#tr_gpt3_energy)`, and has to agree with the
fact in the unit written. Other numbers must stand in the output of a cell tagged nbval-check-output, or in
the notebook's `course` metadata. Free are: number words, code, math, URLs, list and heading numbers, names
(GPT-3, V100, CO2), "lesson 02", claim ids.
"""

import html
import re

from . import execute

NUMBER = re.compile(r"(?<![\w.])(?<![A-Za-z][-\u2011])"  # GPT-3 and V100 are names
                    r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_IN_OUTPUT = re.compile(r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_FREE = re.compile(
    r"```.*?```|~~~.*?~~~|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$|<!--.*?-->|</?[A-Za-z][^>\n]*>"  # code, math
    r"|(?:https?://|arXiv:|doi:)[^\s)\]]+"
    r"|^[ \t]*(?:>[ \t]*)?(?:#+[ \t]*)?[0-9]+[.)](?=\s)"  # list and heading numbers
    r"|\b(?:lessons?|exercises?|sections?|steps?|parts?)\s[0-9]+"
    r"(?:(?:\s?[-\u2013,]\s?|\s(?:to|and)\s)[0-9]+)*"
    r"|\b[ABCT][0-9]{1,2}(?:[-\u2013][ABCT]?[0-9]{1,2})?\b", re.DOTALL | re.MULTILINE | re.IGNORECASE)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]*)(?:\s\"[^\"]*\")?\)")
_TEXT = re.compile(r"<[^>]*>")
NOWHERE = "it is no link to a fact, and stands neither in a checked output nor in the course metadata"
_SCALE = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}


def unbound_numbers(nb, facts=None):
    """The numbers of a notebook's prose that nothing holds: a list of (cell index, number, why).

    `facts`: what `course_lib.facts` offers (`fact`, `convert`); that module itself when None.
    """
    if facts is None:
        from .. import facts
    held, found = _held(nb), []
    for index, cell in enumerate(nb.cells):
        if cell.cell_type != "markdown":
            continue
        # code and math go first, but a link's own words must survive: "[80 %](#a_fact)" is judged below
        text = _FREE.sub(" ", cell.source)

        def judge(match, index=index):
            words, target = match.groups()
            numbers = NUMBER.findall(words)
            if not target.startswith("#"):
                return words
            found.extend((index, ", ".join(numbers), why) for why in _against_fact(words, target[1:], facts))
            return " "

        for number in NUMBER.findall(_LINK.sub(judge, text)):
            if _value(number) not in held:
                found.append((index, number, NOWHERE))
    return found


def _value(text):
    return float(text.replace(",", ""))


def _held(nb):
    """The values that checked outputs and the course metadata of a notebook show."""
    texts = [str(value) for value in nb.metadata.get("course", {}).values()]
    for cell in nb.cells:
        if cell.cell_type == "code" and execute.CHECKED in execute.tags(cell):
            for output in cell.outputs:
                texts.append(output.get("text", ""))
                for kind, data in output.get("data", {}).items():
                    if kind.startswith("text/"):
                        texts.append(html.unescape(_TEXT.sub(" ", data)) if kind == "text/html" else data)
    return {_value(number) for text in texts for number in _IN_OUTPUT.findall(text)}


def _against_fact(words, fact_id, facts):
    """Why the numbers in a link's words do not agree with the fact it names (empty when they do)."""
    spans = [match for match in NUMBER.finditer(words) if not re.search(r"\bper\s+\Z", words[:match.start()])]
    if not spans:
        return []
    try:
        fact = facts.fact(fact_id)
    except KeyError as error:
        return [f"there is no fact {fact_id!r} ({error.args[0]})"]
    if fact.read == "memory":
        return [f"the fact {fact_id} was read from memory: find its source before a lesson prints it"]
    unit = words[spans[-1].end():].strip(" \u00a0\u202f*_.,")
    scale = 1.0
    first = unit.split(" ")[0].lower()
    if first in _SCALE:
        scale, unit = _SCALE[first], unit[len(first):].strip()
    known = {"value": fact.value, "low": fact.low, "high": fact.high}
    try:
        known = {name: facts.convert(value, fact.unit, unit) if unit and unit != fact.unit else value
                 for name, value in known.items() if value is not None}
    except ValueError as error:
        return [f"the fact {fact_id} is in {fact.unit}, which does not become {unit!r}: {error}"]
    if len(spans) == 2 and {"low", "high"} <= set(known):
        pairs = [(spans[0], ["low"]), (spans[1], ["high"])]
    else:
        pairs = [(span, list(known)) for span in spans]
    return [f"{span[0]} {unit} is not what the fact {fact_id} says: "
            + ", ".join(f"{name} {known[name]:g}" for name in names) + f" {unit or fact.unit}"
            for span, names in pairs if not any(_agrees(span[0], known[name], scale) for name in names)]


def _agrees(text, value, scale):
    """True where `value` gives `text` when rounded to the digits written (1,300 is 1,287 to two digits)."""
    mantissa, _, power = text.replace(",", "").lower().partition("e")
    unit = scale * 10.0 ** int(power or 0)
    if "." in mantissa:
        slack = 0.5 * 10.0 ** -len(mantissa.partition(".")[2])
    else:  # final zeros may be rounding: believed up to 2.5 %
        zeros = len(mantissa) - len(mantissa.rstrip("0"))
        slack = max(0.5, min(0.5 * 10.0**zeros, 0.025 * float(mantissa)))
    return abs(float(mantissa) - value / unit) <= slack * (1 + 1e-9)
