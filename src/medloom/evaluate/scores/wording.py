r"""The wordings by which models mark, state, call right and deny an answer: the patterns that `extract` reads with.

Lists are joined by `_any`, so that a wording is added as a line. `LETTER` stands for the letters of a question's options, and is filled in
by `for_letters`. Spaces in verbose patterns are written `[ ]`.
"""

from __future__ import annotations

import re


def _any(*wordings: str) -> str:
    return f"(?:{'|'.join(wordings)})"


def for_letters(pattern: str, letters: str) -> str:
    """A pattern with `LETTER` replaced by a class of the letters given, as they are written: capitals match no small letters."""
    return pattern.replace("LETTER", f"[{letters}]")


# Typographic characters, so that no pattern below needs them.
PLAINER = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u00a0": " "})
# Where a model ends thinking aloud before it answers; the opening tag often stands in the prompt, and not in what the model wrote.
THOUGHT = re.compile(r"</(?:think(?:ing)?|thoughts?|reasoning|scratchpad)>", re.IGNORECASE)
# LaTeX's way of stating a result.
BOXED = re.compile(r"\\f?box(?:ed)?\b\s*")
# Marks around a text that say nothing of it: LaTeX, tags, <<C>>, bold, quotes, underscores that are no part of a word.
MARKUP = re.compile(r"""
    \\(?:text|textbf|mathrm|mathbf|rm)\b\s* | \\[()\[\]]
    | </?\w+> | <{2,} | >{2,}
    | [*`$\#{}"]
    | (?<!\w)_+ | _+(?!\w)
    """, re.VERBOSE)

# Where a model begins to ask and answer its own next question, as base models do.
NEXT = re.compile(r"""
    \n[\s*\#]*(?:Question|Options|Q)\s*\d*\**\s*[:.]
    | \#\#\#\s*(?:Question|User|Human)
    | \n[\s*]*(?:User|Human)\s*:
    """, re.VERBOSE)

# What announces an answer.
CUE = re.compile(r"\b" + _any(
    r"answers?(?:_\w+)?", "ans", "solution", "conclude", "actually", "leaving",
    "(?:correct|right|best|likely|final|only) (?:option|choice|diagnosis|one|response|guess)",
    r"(?:option|choice)(?= is\b|\s*[:=])",
    "(?:I|we)(?:'d| would|'ll| will)? (?:choose|select|pick|go with|opt for|say)",
    "verdict", r"conclusion(?= is\b|\s*:)", "(?:tips|settles|decides|clinches) (?:it|this|the matter)",
    "(?:most|best) (?:consistent|compatible|in keeping) with", "most suggestive of", "best (?:explained|accounted for) by",
    "my (?:choice|pick)", "it(?:'s| is| must be)", "go(?:ing)? with", "leaves (?:us with)?", "points? to",
    "respuesta(?: correcta)?", "antwort", "réponse") + r"\b", re.IGNORECASE)

# What may stand between the announcement and the answer: "the answer [to this question is most likely: the option] C".
FILLER = re.compile("(?:" + _any(
    r"[\s:=\->,'(\[]",
    r"\b" + _any(
        "is", "was", "are", "would", "should", "must", "will", "be", "has to", "es", "ist", "est", "that", "the", "it", "one", "in fact",
        "therefore", "thus", "hence", "then", "so", "clearly", "most", "likely", "probably", "definitely", "indeed", "simply", "really",
        "here", "best", "correct", "final", "right", "given by", "option", "choice", "letter", "answer", "number",
        "to (?:this|the) question", "for (?:this|the) question", "I think", "I believe") + r"\b") + ")*", re.IGNORECASE)

# A statement of two, and a denial: "the answer is both A and C", "the answer is not B", "it is neither A nor B".
BOTH = re.compile(r"both\b", re.IGNORECASE)
NOT = re.compile(r"(?:not|neither|n't|cannot be|isn't)\b", re.IGNORECASE)
# What turns a denial into a statement: "not B but C".
TURN = re.compile(r"\b(?:(?:but|rather|instead)\b[\s,:]*)+")
SENTENCE = re.compile(r"[^.;\n]*")

# What denies the letter before it, at once or in the same clause: "B: wrong", "B (the insulin) is wrong".
DENIED = re.compile(
    r"[^\w,\n]*(?:wrong|incorrect|false|no|not)\b|"
    r"[^\w,\n]*(?:[^.,;\n]{0,60}?\b)?(?:is|are|was|seems|would be|looks)(?: clearly| also| therefore| simply)? ?"
    + _any("n[o']t", "incorrect", "wrong", "false", "unlikely", "excluded", "ruled out", "inappropriate", "less likely"), re.IGNORECASE)
# What denies an option's text, put in for {0}.
DENIED_TEXT = (
    r"\b(?:not|no|neither|nor|never|without|rule[sd]? out|exclude[sd]?|unlike|instead of|than|avoid)(?: \w+)?(?: an?| the)? {0}\b"
    r"|\b{0} (?:is|was|would be|can be) (?:\w+ )?(?:not|excluded|ruled|contraindicated|unlikely|wrong|incorrect|harmful)")

# The options listed once more, A and then B at the beginnings of lines.
LISTED = re.compile(r"\(?A[).:][^\n]*\n\s*(?:[-\u2022]\s*)?\(?B[).:]")
# A second letter beside the first: "A or C", "A/C", "A as well as C".
ANOTHER = re.compile(r"[\s).\]']*(?:or|and|/|&|and/or|as well as|nor)\s*(?:option |choice )?\(?([A-Za-z])(?!\w|'\w)")
# Words after a letter that show it to be the answer, and neither an article ("A patient") nor a genus ("E. coli").
GOES_ON = re.compile(r"\.?,?\s+" + _any(
    "because", "since", "as", "which", "is", "or", "for", "due", "given", "and", "but", "with", "in", "by", "based", "according", "would",
    "seems", "from", "fits", "rather", "not", "here", "at", "on") + r"\b")
# Words before a letter that make it a name ("vitamin D", "group B") or a denial.
NAMING = re.compile(r"\b" + _any(
    "vitamin", "hepatitis", "group", "types?", "factor", "grade", "stage", "class", "influenza", "protein", "blood",
    "not", "neither", "nor", "rules? out", "excludes?", "eliminate") + " $", re.IGNORECASE)

# A model takes back what it said first.
CHANGE = re.compile(
    r"\b" + _any("correction", "wait", "actually", "on second thought", "sorry", "rather", "instead") + r"\b", re.IGNORECASE)

# An option called right by its letter: "option C, the only one that lowers it, is the most likely".
CALLED = (
    r"(?:^|[.,;:(\n]\s*|\b(?i:option|choice|answer|that|so|thus|therefore|hence|think|believe|but|and|,) )"
    r"\(?(LETTER)[).:]?(?:[^.;\n]{0,80}?)\s"
    + _any("is", "seems", "appears", "would be", "must be", "looks", "fits", "matches", "remains")
    + "(?: " + _any("to be", "by far", "clearly", "indeed", "therefore", "thus", "probably", "likely", "the")
    + ")* ?(?:the )?(?:most |single )?"
    + _any("likely", "best", "better", "correct", "right", "appropriate", "preferred", "answer", "true", "fit", "fitting", "one", "drug",
           "as the"))
# An option concluded upon: "so C.", "only C remains", "C? Yes", "C it is", "C: correct".
CONCLUDED = "|".join((
    r"\b(?i:so|thus|hence|therefore),? \(?(LETTER)(?=\)?\s*(?:[.;,]|$))",
    r"\bonly \(?(LETTER)\)? (?:remains|is left|fits)",
    r"\b(LETTER)(?:\?\W*(?i:yes)| it is\b|\)?[).:]*\s+(?i:correct|right|yes|true)\b)"))
