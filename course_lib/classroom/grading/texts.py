"""Texts that others wrote, made fit to be seen; and files that are written whole or not at all."""

import os
import re
import unicodedata
from pathlib import Path

_TEXT = 20_000  # no more of a text is looked at: what is shown is shorter
# Escape sequences of terminals: CSI, then OSC and the other strings, then the short ones.
_ANSI = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?|\x1b[]PX^_][^\n\x07\x1b]*(?:\x07|\x1b\\\\)?"
                   "|\x1b[ -/]*[0-~]?")  # fmt: skip
# Control, bidi, zero-width and tag characters, halves of surrogate pairs. Tab, newline and joiners may stay.
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
                  "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]")  # fmt: skip
_STACK = re.compile("([\u0300-\u036f\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4})"
                    "[\u0300-\u036f\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")  # fmt: skip


def readable(text):
    """A text of unknown origin for the eye: no escape sequences, odd characters shown as ⟨U+202E⟩.

    At most 20,000 characters of it; newlines and tabs stay.
    """
    text = _ANSI.sub("", str(text)[:_TEXT]).replace("\r\n", "\n")
    return _STACK.sub(r"\1", _ODD.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text))


def one_line(text, columns=None):
    """`readable` on one line, shortened in its middle to so many columns of a terminal."""
    text = " ".join(readable(text).split())
    if columns is None or _columns(text) <= columns:
        return text
    end = _take(text[::-1], (columns - 3) // 3)[::-1]
    return f"{_take(text, columns - 3 - _columns(end))}...{end}"


def cut(text, longest=200):
    """`readable` on one line, cut after a word where it has more than so many characters."""
    text = one_line(text)
    if len(text) <= longest:
        return text
    head = text[:longest - 4]
    return (head.rpartition(" ")[0] if " " in head[longest // 2:] else head) + " ..."


def wrapped(text, columns, indent="", further=""):
    """One line of text as lines of at most so many columns, broken between words; `further` begins all but the first."""
    lines, words = [indent], text.split()
    room = columns - max(_columns(indent), _columns(further))
    for word in words:
        while word:
            part = _take(word, room) or word[:1]
            word = word[len(part):]
            joint = "" if lines[-1] in (indent, further) else " "
            if joint and _columns(lines[-1]) + 1 + _columns(part) > columns:
                lines.append(further)
                joint = ""
            lines[-1] += joint + part
            if word:
                lines.append(further)
    return lines


def _columns(text):
    wide = unicodedata.east_asian_width
    return sum(0 if unicodedata.combining(c) else 2 if wide(c) in "WF" else 1 for c in text)


def _take(text, columns):
    """The longest beginning of `text` that fits."""
    while _columns(text) > columns:
        text = text[: max(columns, 0)] if len(text) > columns else text[:-1]
    return text


def points_text(points):
    """2 for 2.0, 0.5, 1.33."""
    return f"{points:.2f}".rstrip("0").rstrip(".")


def plural(n, thing):
    """1 grade, 2 grades."""
    return f"{n} {thing}" + "s" * (n != 1)


def write_whole(path, data):
    """Write bytes beside `path`, then put them in its place: never half written, and nothing else stays. OSError as it comes."""
    part = Path(path).with_name(Path(path).name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except BaseException:  # Ctrl-C too
        part.unlink(missing_ok=True)
        raise
