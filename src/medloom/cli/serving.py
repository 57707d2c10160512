"""Verbs to talk to a model, and to let others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import Json, Quiet, app, existing, print_json, print_tables, served_file

if TYPE_CHECKING:
    from ..serve import Offer

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A GGUF file, or the folder of a run.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the engines together [default: cores - 1].")]
Context = Annotated[int | None, typer.Option(min=1, help="Tokens that a question and its answer may take [default: the model's].")]
KeyFile = Annotated[Path, typer.Option("--keys", help="The file that keeps the digests of the keys.")]


@app.command(epilog="Example: medloom serve medloom-demo --port 8000")
def serve(models: Annotated[list[str], typer.Argument(metavar="[NAME=]MODEL...", help="GGUF files, folders of runs or models, or "
                                                      "addresses of OpenAI-compatible servers, as http://HOST:PORT/v1 or with #MODEL.")],
          host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
          port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 8000,
          keys: Annotated[Path | None, typer.Option(help="Accept only requests with a key of this file (see medloom keys).")] = None,
          key: Annotated[list[str] | None, typer.Option("--key", envvar="MEDLOOM_KEYS", help="Accept requests with this key.")] = None,
          template: Annotated[list[str] | None, typer.Option(metavar="[NAME=]FORM", help="Form of conversations: plain, meditron, "
                              "meditron-zero-shot, meditron-one-shot, chatml, llama2, llama3, mistral [default: the model's own, or plain]."
                              )] = None,
          calibration: Annotated[list[str] | None, typer.Option(metavar="[NAME=]FILE", help="Abstain where the model is too unsure (see "
                                 "medloom calibrate).")] = None,
          threads: Threads = None, context: Context = None,
          slots: Annotated[int, typer.Option(min=1, help="Answers of a model computed at a time.")] = 4,
          queue: Annotated[int, typer.Option(min=0, help="Requests that may wait; more are told to come back.")] = 16,
          patience: Annotated[float, typer.Option(help="Seconds that a request may wait.")] = 60.0,
          drain: Annotated[float, typer.Option(min=0, help="Seconds that answers under way have left once the server is to end.")] = 30.0,
          embeddings: Annotated[bool, typer.Option("--embeddings", help="Answer /v1/embeddings too.")] = False) -> None:
    """Serve models: an OpenAI-compatible API with streaming, and a page to talk to them.

    Beyond this machine (--host) only with keys. The key of another server is taken from MEDLOOM_API_KEY.
    """
    from ..serve import Settings, with_calibrations, with_templates
    from ..serve import serve as start

    offers = list(map(_offered, models))
    settings = Settings(context=context, slots=slots, queue=queue, patience=patience, threads=threads, embeddings=embeddings)
    offers = with_calibrations(with_templates(offers, template or ()), calibration or ())
    start(offers, settings, host=host, port=port, keys=tuple(key or ()), key_file=keys, drain=drain)


@app.command(epilog="Example: medloom chat medloom-demo")
def chat(model: Model, threads: Threads = None, context: Context = None,
         template: Annotated[str | None, typer.Option(metavar="FORM", help="Form of a conversation (see medloom serve).")] = None) -> None:
    """Talk to a GGUF file in the terminal."""
    from ..serve import chat as talk

    talk(served_file(model), threads=threads, context=context, template=template)


@app.command(epilog="Example: medloom calibrate model-Q4_K_M.gguf medqa/dev.jsonl --risk 0.1 --out calibration.json")
def calibrate(model: Annotated[str, typer.Argument(metavar="[NAME=]MODEL", help="What is to be served, as medloom serve takes it.")],
              questions: Annotated[Path, typer.Argument(metavar="QUESTIONS", help="A benchmark's file or folder: questions with answers.")],
              risk: Annotated[float, typer.Option(help="Share of all questions that may be answered wrongly.")] = 0.1,
              out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the calibration is kept; its picture beside it.")]
              = Path("calibration.json"),
              kind: Annotated[str, typer.Option(help="Form of the questions: medqa, medmcqa, pubmedqa, mmlu, truthfulqa.")] = "medqa",
              part: Annotated[str | None, typer.Option(help="Part of the benchmark, such as a subject of MMLU.")] = None,
              limit: Annotated[int | None, typer.Option(min=1, help="Ask so many of them, always the same ones [default: all].")] = None,
              template: Annotated[str | None, typer.Option(metavar="FORM", help="Form of a conversation (see medloom serve).")] = None,
              threads: Threads = None, context: Context = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Find the confidence below which a served model had better abstain from multiple-choice and yes/no questions (docs/abstention.md)."""
    from ..calibrating import calibrate as ask_all
    from ..calibrating import calibration_table, caution, draw_calibration, read_questions
    from ..ledger import Bars, Silent
    from ..serve import Settings, with_templates

    (wanted,) = with_templates([_offered(model)], [template] if template else [])
    asked = read_questions(existing(questions), kind, part, limit)
    found, answers = ask_all(wanted, Settings(context=context, threads=threads), asked, risk, Silent() if quiet else Bars())
    found.write(out)
    draw_calibration(found, answers, out.with_suffix(".svg"))
    if as_json:
        print_json({**found.model_dump(), "files": [str(out), str(out.with_suffix(".svg"))]})
        return
    print_tables([calibration_table(found, answers)])
    if said := caution(answers):
        typer.echo(said)
    if not quiet:
        typer.echo(f"{out}, for: medloom serve {model} --calibration {out}", err=True)


def _offered(text: str) -> Offer:
    """What a word of the command line offers, a run's folder resolved to its file."""
    from ..serve import offer

    one = offer(text)
    return one if one.path is None else replace(one, path=served_file(one.path))


keyring = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make and revoke the API keys of medloom serve.",
                      epilog="Example: medloom keys add ward-7 --keys keys.json --per-minute 60")
app.add_typer(keyring, name="keys")


@keyring.command("add", epilog="Example: medloom keys add ward-7 --keys keys.json --per-minute 60 --at-a-time 4")
def keys_add(name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")], keys: KeyFile = Path("keys.json"),
             per_minute: Annotated[int | None, typer.Option(min=1, help="Requests that it may send a minute [default: no limit].")] = None,
             at_a_time: Annotated[int | None, typer.Option(min=1, help="Requests of it under way at once [default: no limit].")] = None,
             as_json: Json = False) -> None:
    """Make a key and show it, once: the file keeps its digest alone. Servers that run take it at once."""
    from ..serve import add_key

    key = add_key(keys, name, per_minute=per_minute, at_a_time=at_a_time)
    if as_json:
        print_json({"name": name, "key": key, "file": str(keys)})
    else:
        typer.echo(key)


@keyring.command("list", epilog="Example: medloom keys list --keys keys.json")
def keys_list(keys: KeyFile = Path("keys.json"), as_json: Json = False) -> None:
    """Whose keys there are, and their limits."""
    from ..serve import read_keys

    found = read_keys(keys)
    if as_json:
        print_json({"keys": [key.model_dump(exclude={"sha256"}) for key in found]})
        return
    for key in found:
        limits = [f"{key.per_minute} a minute" if key.per_minute else "", f"{key.at_a_time} at a time" if key.at_a_time else ""]
        typer.echo(f"{key.name}  {key.made}  {', '.join(filter(None, limits)) or 'no limit'}")


@keyring.command("revoke", epilog="Example: medloom keys revoke ward-7 --keys keys.json")
def keys_revoke(name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")], keys: KeyFile = Path("keys.json")) -> None:
    """Take a key away. Servers that run refuse it at once."""
    from ..serve import revoke_key

    revoke_key(keys, name)
