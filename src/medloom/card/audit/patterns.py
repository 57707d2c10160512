"""What the words around a number say it is: in prose, and as the label of a table's row, a column or a setting.

A pattern asks for words, never for a place in the card. A number that no pattern knows is not audited.
"""

from __future__ import annotations

import re

from .known import DEVICE
from .quantity import DURATION, MASS, NUMBER, SCALE

TIMES = "[*x\u00d7]"
_OF = r"\s?(?:of|=|:|is|was|at)?\s?"
_CO2 = r"(?:of\s)?CO_?2[\s-]?(?:equivalents?|eq\b|e\b)?"
_PER_KWH = r"\s?(?:/|per)\s?kWh"
_GAP = r"(?:(?!parallel|global|micro)[^.|;*\n]){0,110}?"
_KINDS_OF_TEXT = (r"(?:(?:training|pre-?training|medical|biomedical|clinical|text|unique|high-quality|quality|domain|domain-specific|"
                  r"English|total|additional|curated)\s){0,3}")


def _parallel(word: str, letters: str) -> tuple[str, ...]:
    return (rf"\b{word}[\s-]*parallel\w*{_GAP}(?:of|=|:)\s?(\d{{1,6}})()\b(?![.,]\d)", rf"\b(\d{{1,6}})()[\s-]*way\s{word}[\s-]*parallel",
            rf"\b{letters}\s?(?:size)?\s?(?:=|:|of)?\s?(\d{{1,6}})()\b(?![.,]\d)")


# kind: patterns whose first group is the number and whose second its scale or unit.
_PROSE = {
    "tokens": (rf"{NUMBER}{SCALE}[\s-]?{_KINDS_OF_TEXT}tokens?\b",),
    "validation_tokens": (rf"{NUMBER}{SCALE}\s?(?:validation|held-?out)\s?tokens\b",
                          rf"{NUMBER}{SCALE}\s?tokens?\s?\(?(?:for|of|as|in|held out for)?\s?(?:the\s)?(?:validation|held-?out)\b"),
    "parameters": (rf"{NUMBER}{SCALE}[\s-]?(?:total\s|model\s)?param(?:eter)?s?\b",),
    "active": (rf"{NUMBER}{SCALE}[\s-]?(?:active|activated)\sparam(?:eter)?s?\b",),
    "gpu_hours": (rf"(?:GPU|device|{DEVICE})[\s-]?hours?(?:\s?\([^)]{{0,60}}\))?\W{{0,6}}(?:is|of|was|used)?\s?{NUMBER}{SCALE}\b"
                  rf"(?! ?(?:{TIMES} ?\d|{TIMES} ?[A-Z]|nodes?|GPU))",
                  rf"{NUMBER}{SCALE}\s?(?:{DEVICE}(?:[\s-]?\(?\d{{1,3}}\s?GB\)?)?(?:[\s-]SXM\d?)?[\s-]?(?:GPUs?[\s-]?)?"
                  r"|(?:GPU|device|accelerator|TPU)[\s-]?)(?:hours?|h)\b"),
    "hours": (rf"{NUMBER}\s?({DURATION})\b",),
    "watts": (rf"TDP\W{{0,3}}(?:of|is|:|=)?\s?{NUMBER}\s?(k?W)\b", rf"{NUMBER}\s?(k?W)(?:atts?)?\s?(?:TDP|per\s(?:GPU|device|accelerator))",
              rf"{NUMBER}\s?(W)\s?/\s?1,?000\b"),
    "pue": (r"(?:PUE|power usage effectiveness)(?:\s?\([^)]{0,40}\))?(?:,? a factor)?\s?(?:of|:|=|is|at|was)?\s?"
            rf"{NUMBER}()(?!\s?(?:{MASS})\b)", rf"{TIMES}\s?{NUMBER}()\s?\(?PUE\b"),
    "overhead": (rf"\boverhead(?:,? a factor)?\s?(?:factor)?\s?(?:of|:|=|is|was)?\s?{NUMBER}()(?!\s?%)",
                 rf"{TIMES}\s?{NUMBER}()\s?\(?(?:node\s)?overhead\b"),
    "intensity": (rf"{NUMBER}\s?({MASS})\s?-?{_CO2}{_PER_KWH}", rf"{NUMBER}\s?({MASS}){_PER_KWH}"),
    "carbon": (rf"{NUMBER}\s?(?:metric\s)?({MASS})\s?-?{_CO2}(?![\w-]{{0,14}}{_PER_KWH})",),
    "kwh": (rf"{NUMBER}\s?([kMG]Wh)\b",),
    "data": _parallel("data", "DP"),
    "tensor": _parallel("tensor", "TP"),
    "pipeline": _parallel("pipeline", "PP"),
    "context_parallel": _parallel("context", "CP"),
    "global_batch": (rf"(?:global|effective|total)[\s_-]?(?:train(?:ing)?[\s_-]?)?batch[\s_-]?size{_OF}{NUMBER}()(?!\s?[KMB]?\s?tokens)",),
    "batch_tokens": (rf"batch(?:[\s-]size)?{_OF}{NUMBER}{SCALE}\s?tokens",),
    "micro_batch": (rf"(?:micro|per[\s-]?(?:device|GPU))[\s_-]?(?:train(?:ing)?[\s_-]?)?batch[\s_-]?size{_OF}{NUMBER}()",),
    "accumulation": (rf"gradient[\s_-]?accumulation(?:\ssteps)?\s?(?:of|=|:|is|was|over)?\s?{NUMBER}()",),
    "steps": (rf"{NUMBER}{SCALE}\s(?:training\s|optimi[sz]er\s|update\s|gradient\s)?(?:steps|iterations)\b(?!\sof\swarm)",),
    "warmup": (rf"{NUMBER}{SCALE}\s(?:linear\s)?warm-?up\s(?:steps|iterations)\b",
               rf"warm-?up\s(?:of|for|over)\s(?:the first\s)?{NUMBER}{SCALE}\s(?:steps|iterations)\b"),
    "epochs": (rf"{NUMBER}()\s(?:full\s)?epochs?\b",),
    "rate": (rf"learning[\s-]rate\s(?:of|=|:|is|was)\s{NUMBER}()",),
    "length": (rf"(?:sequence|seq\.?)\slength\s?(?:of|=|:|is|was)\s?{NUMBER}(K?)\b",),
    "throughput": (rf"{NUMBER}{SCALE}\s?tokens\s?(?:/|per)\s?s(?:ec\w*)?\b",),
    "utilisation": (rf"{NUMBER}()\s?%\s?(?:model\sFLOPs?\sutili[sz]ation|MFU\b|\(?MFU\b|of\s(?:the\s)?(?:theoretical\s)?peak\b)",
                    rf"(?:MFU|model FLOPs? utili[sz]ation)\)?\s?(?:of|:|=|was|is)\s?{NUMBER}()\s?%"),
}
PROSE = {kind: tuple(re.compile(pattern, re.I) for pattern in patterns) for kind, patterns in _PROSE.items()}
DEVICES_IN_PROSE = re.compile(
    rf"(?:{NUMBER}\s?(?:DGX\s|HGX\s|compute\s|GPU\s)?nodes?\s?(?:of|with|each\swith|each\shaving|,|\(|{TIMES})?\s?(?:each\s?)?(?:with\s|of\s)?)?"
    rf"{NUMBER}\s?{TIMES}?\s?(?:{DEVICE}|GPUs?\b|accelerators\b)(?![\s-]?(?:\d+\s?GB\s?)?(?:GPU[\s-])?(?:hours?|h)\b)", re.I)
DEVICES_TIMES = re.compile(rf"{DEVICE}(?:[\s-]?\(?\d{{1,3}}\s?GB\)?)?\s?[x\u00d7]\s?(\d{{1,6}})\b", re.I)

_LABELS = {
    "parameters": r"(?:model size|(?:number of |num\.? |total )?param(?:eter)?s?(?: count)?)",
    "active": r"(?:activated|active) param(?:eter)?s?",
    "tokens": r"(?:(?:training|total|train|seen|pre-?training) )*tokens(?: count)?|(?:number of|num\.?) (?:training )?tokens|token count",
    "validation_tokens": r"(?:validation|valid|val|held-?out) tokens",
    "data": r"(?:dp|data[ -]parallel\w*)(?: (?:size|degree))?|num devices",
    "tensor": r"(?:tp|tensor[ -](?:model )?parallel\w*)(?: (?:size|degree))?",
    "pipeline": r"(?:pp|pipeline[ -](?:model )?parallel\w*)(?: (?:size|degree))?",
    "context_parallel": r"(?:cp|context[ -]parallel\w*)(?: (?:size|degree))?",
    "global_batch": r"(?:global|total|effective) ?(?:train(?:ing)? )?batch(?: ?size)?",
    "batch_tokens": r"(?:global |total )?batch(?: size)? \(?(?:in )?tokens\)?|tokens per (?:batch|step)",
    "micro_batch": r"(?:micro|per[ -](?:device|gpu)(?: train)?) ?batch(?: size)?(?: per (?:device|gpu))?|train micro batch size per gpu",
    "train_batch": r"train(?:ing)? batch size",
    "accumulation": r"(?:gradient|grad) ?accum(?:ulation)?(?: steps)?",
    "length": r"(?:max(?:imum)? )?(?:seq(?:uence)?\.?|model) ?(?:max )?len(?:gth)?|cutoff len(?:gth)?|block size",
    "context": r"context (?:len(?:gth)?|window|size)",
    "steps": r"(?:training |train |total |max |optimi[sz]er )?(?:steps|iterations|iters)|train iters",
    "warmup": r"warm-?up (?:iterations?|steps?|iters)|lr scheduler warmup steps|lr warmup iters",
    "epochs": r"(?:num(?:ber of)? )?(?:train(?:ing)? )?epochs?",
    "rate": r"(?:max(?:imum)? |peak )?(?:lr|learning rate)",
    "last_rate": r"(?:min(?:imum)?|final|end) ?(?:lr|learning rate)",
    "gpus": r"(?:gpus|(?:number of |num\.? )(?:gpus|accelerators)|number of devices|world size)(?: used)?|gpu count",
    "hours": r"(?:hours|hours used|(?:training |wall(?:[ -]clock)? )(?:time|hours)(?: \(h(?:ours)?\))?|duration \(h(?:ours)?\))",
    "gpu_hours": (r"(?:total )?(?:gpu|device|accelerator|(?:[ahv]\d00) ?(?:gpu)?) ?-?hours(?: used)?"
                  r"|(?:total )?(?:training |pre-?training )?(?:time|compute|hours)? ?\(?(?:gpu|device|[ahv]\d00) ?-?hours\)?"),
    "watts": r"tdp(?: \(w\))?|device power|watts|(?:training |peak |gpu )?power (?:consumption )?(?:\(w\))?",
    "pue": r"(?:pue|power usage effectiveness(?: \(pue\))?)(?:, a factor)?",
    "overhead": r"(?:node )?overhead(?:, a factor)?",
    "kwh": r"(?:total )?(?:training )?(?:energy|electricity|power)(?: consum(?:ed|ption)| used)?(?: \([kmg]wh\))?",
    "intensity": r"(?:grid |carbon )+(?:intensity|efficiency|factor)(?: \([^)]*kwh\))?",
    "carbon": (r"(?:total )?(?:estimated )?(?:training )?(?:location-based )?(?:carbon|co2\w*|(?:greenhouse gas )?emissions?)"
               r"(?: emissions?| emitted| footprint)?(?: ?\([^)]*\))?"),
    "layers": r"(?:num(?:ber)?\.? (?:of )?)?(?:hidden |transformer )?layers|n layers?",
    "width": r"hidden (?:dim(?:ension)?|size)|d ?model|(?:embedding|model) dim(?:ension)?",
    "throughput": r"(?:throughput )?\(?tokens ?(?:/|per) ?s(?:ec(?:ond)?)?\)?",
}
LABELS = {kind: re.compile(rf"^(?:{pattern})$") for kind, pattern in _LABELS.items()}
UNITED = frozenset(("carbon", "intensity", "kwh"))  # kinds whose number needs a unit, in its cell or its label
UNIT = {"carbon": re.compile(rf"\b({MASS})(?:\b|(?=\s?CO))", re.I), "intensity": re.compile(rf"\b({MASS})(?:\b|(?=\s?CO))", re.I),
        "kwh": re.compile(r"\b([kMG]?Wh)\b", re.I), "watts": re.compile(r"\b(k?W)\b"), "hours": re.compile(rf"\b({DURATION})\b", re.I)}
VALUE = re.compile(rf"^~?\s?{NUMBER}{SCALE}(?![a-z])", re.I)
VALUE_WITH_UNIT = re.compile(rf"^~?\s?{NUMBER}\s?([A-Za-z]{{1,9}})?")


SCALE_IN_LABEL = re.compile(r"\s?\((?:in )?(trillion|billion|million|thousand|[tbmk])s?\)$")  # "Tokens (B)"


def plain_label(label: str) -> str:
    """A label as the patterns know it: lower case, single blanks, no marks."""
    return re.sub(r"[\s_]+", " ", label[:120].lower()).strip(" :*`-")


# Sentences about using a model rather than making it.
USING = re.compile(r"infer(?:ence|red)?\b|\bserv(?:e|ed|es|ing)\b|deploy|evaluat|quanti[sz]|fits? (?:on|in)\b|requir|recommend|at least|"
                   r"minimum|run(?:s|ning)? (?:on|the model)|load(?:ed|ing)?\b|latency|generat", re.I)
MAKING = re.compile(r"\btrain|pretrain|pre-train|finetun|fine-tun|comput(?:e|ing|ation)\b|\bhardware\b|GPU[- ]hours|TDP|wall", re.I)
