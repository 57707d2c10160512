"""Signatures on what a run left, in the form of OpenSSF model signing, and whether what lies there is still what was written and signed.

Of a run its `ledger.jsonl` is signed, into `ledger.sig`: each line holds the digest of a record, and each record those of its step's files.
Of any other folder all files are signed, into its `model.sig`; of a single file that file, into `FILE.sig`. An elliptic-curve key of one's
own signs, without any network. Anyone verifies with the public key: by `medloom verify`, or by model-signing's own command.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .ledger import Ledger, Refusal
from .ledger.files import files_at, sha256_file, write_text
from .ledger.store import SIGNATURE, altered, read_record
from .model.gguf_file import check_digest

PASSWORD = "MEDLOOM_KEY_PASSWORD"


@dataclass(frozen=True)
class Verified:
    """What was checked, in words, what of it does not hold, and what could not be checked."""

    checked: tuple[str, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def sign(place: Path, key: Path) -> Path:
    """Sign a run, a folder or a file with a private key (PEM, one of the curves NIST P-256, P-384, P-521), and return the signature's file.

    The password of an encrypted key is read from the environment variable MEDLOOM_KEY_PASSWORD. Refused where what is to be signed does not
    hold by its own records.
    """
    model_signing = _library()
    faults = [fault for _, found in _own_evidence(place) for fault in found]
    if faults:
        raise Refusal(f"{faults[0]}; mend that before it is signed")
    try:
        password = os.environ.get(PASSWORD, "").encode() or None  # its hints say text, and what reads it wants bytes
        signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=key, password=password)
    except OSError as error:
        raise Refusal(f"{key}: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise Refusal(f"{key}: not a private key that can sign ({error}); an elliptic-curve key in PEM form is wanted, and the password "
                      f"of an encrypted one in {PASSWORD}") from None
    signed, signature = _signed(place)
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=[SIGNATURE] if signed.is_dir() else [])
    with TemporaryDirectory() as folder:
        made = Path(folder) / signature.name
        try:
            signer.set_hashing_config(hashing).sign(signed, made)
        except ValueError as error:  # a link among its files, an empty folder
            raise Refusal(f"{signed}: cannot be signed: {error}") from None
        write_text(signature, made.read_text(encoding="utf-8"))
    return signature


def verify(place: Path, key: Path | None = None) -> Verified:
    """Hold a run, a folder or a file against its ledger or record, the digests beside its files, and its signature.

    A signature is checked where `key`, a public key, is given. Refused where there is nothing that it could be held against.
    """
    evidence = _own_evidence(place)
    checked = [what for what, _ in evidence]
    faults = [fault for _, found in evidence for fault in found]
    notes = []
    signatures = _signatures(place)
    if key is not None:
        verifier = _verifier(key)
        checked += [f"{len(signatures)} signature" + "s" * (len(signatures) != 1) + f" against {key}"]
        faults += [fault for signed, signature in signatures for fault in _unsigned(verifier, signed, signature)]
        if not any(signature == _signed(place)[1] for _, signature in signatures):
            faults.append(f"{place}: is not signed; sign it with: medloom sign {place} --key FILE")
    else:
        notes = [f"{signature} was not checked: name the signer's public key with --key" for _, signature in signatures]
    if not checked:
        raise Refusal(notes[0] if notes else f"{place}: neither a ledger, nor a record, a digest beside a file or a signature, so that "
                                             "there is nothing to hold it against")
    return Verified(tuple(checked), tuple(faults), tuple(notes))


def _is_run(place: Path) -> bool:
    return (place / "ledger.jsonl").is_file()


def _signed(place: Path) -> tuple[Path, Path]:
    """What is signed of a place, and where the signature lies."""
    place = place.resolve()
    if _is_run(place):
        return place / "ledger.jsonl", place / "ledger.sig"
    return (place, place / SIGNATURE) if place.is_dir() else (place, place.with_name(f"{place.name}.sig"))


def _signatures(place: Path) -> list[tuple[Path, Path]]:
    """The signatures of a place: its own and, of a run, those of its steps."""
    places = [place, *sorted((place / "steps").glob("*/"))] if _is_run(place) else [place]
    return [(signed, signature) for signed, signature in map(_signed, places) if signature.is_file()]


def _own_evidence(place: Path) -> list[tuple[str, list[str]]]:
    """What a place can be held against without a key, and what is wrong by it: its ledger or record, and the digests beside files."""
    place = place.resolve()
    if _is_run(place):
        ledger = Ledger(place)
        faults = ledger.verify()
        return [(f"the chain and {len(ledger.standing())} steps" if not faults else "the chain and the steps", faults)]
    found: list[tuple[str, list[str]]] = []
    record = read_record(place)
    if place.parent.name == "steps" and _is_run(place.parents[1]):
        found.append(("the chain and the record", Ledger(place.parents[1]).verify(only=place.name)))
    elif record is not None:
        found.append(("the record", altered(place, record)))
    beside = sorted(place.rglob("*.sha256")) if place.is_dir() else [place.with_name(f"{place.name}.sha256")]
    for digest in filter(Path.is_file, beside):
        found.append((digest.name, _misses(digest)))
    return found


def _misses(digest: Path) -> list[str]:
    file = digest.with_suffix("")
    if not file.is_file():
        return [f"{file}: is gone, and {digest.name} is there"]
    try:
        check_digest(file)
    except Refusal as error:
        return [str(error)]
    return []


def _library() -> Any:
    try:
        import model_signing
    except ImportError:
        raise Refusal("signatures need OpenSSF's model-signing: pip install 'medloom[signing]'") from None
    return model_signing


def _verifier(key: Path) -> Callable[[], Any]:
    """Makes verifiers; each serves one signature."""
    library = _library()

    def make() -> Any:
        return library.verifying.Config().use_elliptic_key_verifier(public_key=key)

    try:
        make()
    except OSError as error:
        raise Refusal(f"{key}: {error.strerror}") from None
    except ValueError as error:
        raise Refusal(f"{key}: not a public key that can verify ({error}); give the public half, in PEM form, of the key that signed"
                      ) from None
    return make


def _unsigned(verifier: Callable[[], Any], signed: Path, signature: Path) -> list[str]:
    """Why a signature does not hold; empty where it does."""
    try:
        verifier().verify(signed, signature)
    except Exception as error:  # whatever its reader stumbles over, the signature is not one of these bytes by this key
        text = str(error)
        if text.startswith("Signature mismatch"):
            return [f"{signature}: {_mismatch(signed, signature)}"]
        why = "was made by another key" if text.startswith("Key mismatch") else f"is no signature by this key ({type(error).__name__})"
        return [f"{signature}: {why}"]
    return []


def _mismatch(signed: Path, signature: Path) -> str:
    """What differs from the list of files and digests that was signed."""
    if signed.is_file():
        return f"is of other bytes than {signed.name} has now: it was altered, or has gone on since and wants to be signed again"
    envelope = json.loads(signature.read_text(encoding="utf-8"))["dsseEnvelope"]
    resources = json.loads(b64decode(envelope["payload"]))["predicate"]["resources"]
    then = {resource["name"]: resource["digest"] for resource in resources}
    now = {name: sha256_file(file) for name, file in files_at(signed).items() if file != signature and not name.startswith(".git")}
    said = {"altered since": [name for name in then if now.get(name, then[name]) != then[name]],
            "gone": sorted(then.keys() - now.keys()), "not among what was signed": sorted(now.keys() - then.keys())}
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in said.items() if names)
