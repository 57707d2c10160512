"""The phrases by which answers are told in running text; extract.py says in which order they are looked for."""

from __future__ import annotations

import re


def _any(*phrases: str) -> str:
    return f"(?:{'|'.join(phrases)})"


# Typographic characters, so that no pattern below needs them.
PLAINER = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u00a0": " "})
# What marks text up and says nothing: LaTeX boxes, Markdown, tags, quotation marks.
MARKUP = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf|rm)\b\s*|\\[()\[\]]|</?\w+>|<{2,}|>{2,}|[*`$#{}\"]|(?<!\w)_+|_+(?!\w)")
# A model that goes on puts the next question to itself; what it answers to that is not asked.
NEXT = re.compile(r"\n[\s*#]*(?:Question|Options|Q)\s*\d*\**\s*[:.]|###\s*(?:Question|User|Human)|\n[\s*]*(?:User|Human)\s*:")
SENTENCE = re.compile(r"[^.;\n]*")
ALONE = r"(?!\w|'\w)"  # behind a letter that is a word of its own

# An answer is being stated.
CUE = re.compile(r"\b" + _any(
    r"answers?(?:_\w+)?", "ans", "solution", "respuesta(?: correcta)?", "antwort", "r\u00e9ponse",
    _any("correct", "right", "best", "likely", "final", "only") + " " + _any("option", "choice", "diagnosis", "one", "response", "guess"),
    r"(?:option|choice)(?= is\b|\s*[:=])", _any("I", "we") + "(?:'d| would|'ll| will)? " + _any("choose", "select", "pick", "go with",
    "opt for", "say"),
    "my (?:choice|pick)", "conclude", "actually", "it(?:'s| is| must be)", "go(?:ing)? with", "leaves (?:us with)?", "leaving",
    "points? to") + r"\b", re.IGNORECASE)
# What may stand between that and the answer.
FILLER = re.compile(r"(?:[\s:=\->,'(\[]|\b" + _any(
    "is", "was", "are", "would", "should", "must", "will", "be", "has to", "therefore", "thus", "hence", "then", "so", "clearly",
    "most", "likely",
    "probably", "definitely", "indeed", "simply", "really", "here", "best", "given by", "option", "choice", "letter", "answer", "number",
    "(?:to|for) (?:this|the) question", "es", "ist", "est", "that", "the", "correct", "final", "right", "one", "it", "in fact", "I think",
    "I believe") + r"\b)*", re.IGNORECASE)
# An option that was named is called right.
CALLED = (_any("is", "seems", "appears", "would be", "must be", "looks", "fits", "matches", "remains")
          + "(?: " + _any("to be", "by far", "clearly", "indeed", "therefore", "thus", "probably", "likely",
          "the") + ")* ?(?:the )?(?:most |single )?"
          + _any("likely", "best", "better", "correct", "right", "appropriate", "preferred", "answer", "true", "fit", "fitting", "one",
          "drug", "as the"))
# An option that was named is denied: behind its letter, and before or behind its text.
DENIED = re.compile(r"[^\w,\n]*(?:wrong|incorrect|false|no|not)\b|[^\w,\n]*(?:[^.,;\n]{0,60}?\b)?"
                    + _any("is", "are", "was", "seems", "would be", "looks")
                    + "(?: clearly| also| therefore| simply)? ?"
                    + _any("n[o']t", "incorrect", "wrong", "false", "unlikely", "excluded", "ruled out", "inappropriate",
                    "less likely"), re.IGNORECASE)
DENIED_TEXT = (r"\b" + _any("not", "no", "never", "without", "rule[sd]? out", "exclude[sd]?", "unlike", "instead of", "than", "avoid")
               + r"(?: \w+)?(?: an?| the)? {0}\b|\b{0} " + _any("is", "was", "would be", "can be") + r" (?:\w+ )?"
               + _any("not", "excluded", "ruled", "contraindicated", "unlikely", "wrong", "incorrect", "harmful"))
# A second letter beside the first.
ANOTHER = re.compile(rf"[\s).\]']*{_any('or', 'and', '/', '&', 'and/or', 'as well as', 'nor')}\s*(?:option |choice )?\(?([A-Za-z]){ALONE}")
# What follows a letter that is an answer, where it could be an article ("A patient") or an abbreviation ("E. coli").
GOES_ON = re.compile(r"\.?,?\s+" + _any(
    "because", "since", "as", "which", "is", "or", "for", "due", "given", "and", "but", "with", "in", "by", "based", "according",
    "would", "seems",
    "from", "fits", "rather", "not", "here", "at", "on") + r"\b")
# A model takes back what it said first.
CHANGE = re.compile(r"\b" + _any(
    "correction", "wait", "actually", "on second thought", "sorry", "rather", "instead") + r"\b", re.IGNORECASE)
# What makes a letter part of a name, or denies it, by standing before it.
NAMING = re.compile(r"\b" + _any(
    "vitamin", "hepatitis", "group", "types?", "factor", "grade", "stage", "class", "influenza", "protein", "blood", "not", "nor",
    "rules? out",
    "excludes?", "eliminate") + " $", re.IGNORECASE)
