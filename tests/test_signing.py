"""What a person can hold a run or a model against, and that every alteration is found. Signatures by OpenSSF's own package."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from medloom.ledger import Ledger, Refusal, Silent, Step, Workspace
from medloom.signing import Verified, sign, verify


def write(space: Workspace) -> Mapping[str, Any]:
    (space.out / "weights.bin").write_bytes(bytes(range(256)))
    (space.out / "config.json").write_text("{}")
    return {}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    root = tmp_path / "run"
    ledger = Ledger(root)
    with ledger.opened():
        list(ledger.walk([Step("model", write, ("ledger",))], Silent()))
    return root


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A private key, its public half, and the public half of another."""
    pytest.importorskip("model_signing", reason="signatures need the extra `signing`")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def write(name: str, curve: ec.EllipticCurve, password: bytes | None = None) -> Path:
        private = ec.generate_private_key(curve)
        hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        (tmp_path / name).write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden))
        public = tmp_path / f"{name}.pub"
        public.write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM,
                                                             serialization.PublicFormat.SubjectPublicKeyInfo))
        return public

    mine, other = write("mine", ec.SECP384R1(), b"secret"), write("other", ec.SECP256R1())
    return tmp_path / "mine", mine, other


def medloom(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "medloom", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def model(run: Path) -> Path:
    return (run / "latest/model").resolve()


def holds(found: Verified) -> bool:
    return not found.faults


def test_a_run_is_held_against_its_ledger(run: Path) -> None:
    assert json.loads(medloom("verify", run, "--json").stdout) == {"checked": ["the chain and 1 steps"], "faults": [], "notes": []}
    (model(run) / "weights.bin").write_bytes(bytes(256))
    assert "weights.bin: differs from its record" in medloom("verify", run, code=1).stderr
    assert not holds(verify(model(run))), "so is one step of it"


def test_a_record_that_was_altered_with_its_file_is_found_by_the_chain(run: Path) -> None:
    folder = model(run)
    old, new = (hashlib.sha256(content).hexdigest() for content in (bytes(range(256)), bytes(256)))
    (folder / "weights.bin").write_bytes(bytes(256))
    (folder / "record.json").write_text((folder / "record.json").read_text().replace(old, new))
    assert ["was altered after it was entered" in fault for fault in verify(folder).faults] == [True]
    alone = run.parent / "copied"
    folder.rename(alone)
    assert holds(verify(alone)), "away from its ledger a step has its record alone to be held against"


def test_a_digest_beside_a_file_is_checked_and_must_have_its_file(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    beside = tmp_path / "model.gguf.sha256"
    beside.write_text(subprocess.run(["sha256sum", file.name], cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert verify(file).checked == ("model.gguf.sha256",) and holds(verify(file)) and holds(verify(tmp_path))
    file.write_bytes(b"GGUf")
    assert "altered or damaged" in verify(tmp_path).faults[0]
    file.unlink()
    assert "is gone" in verify(tmp_path).faults[0]


def test_where_there_is_nothing_to_hold_it_against_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"1")
    with pytest.raises(Refusal, match="nothing to hold it against"):
        verify(tmp_path)


def test_a_signed_run_and_every_way_to_alter_it(run: Path, keys: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    private, public, other = keys
    with pytest.raises(Refusal, match="password of an encrypted one in MEDLOOM_KEY_PASSWORD"):
        sign(run, private)
    monkeypatch.setenv("MEDLOOM_KEY_PASSWORD", "secret")
    medloom("sign", run, "--key", private)
    medloom("verify", run, "--key", public)
    assert "was not checked: name the signer's public key" in verify(run).notes[0] and holds(verify(run))
    assert "was made by another key" in verify(run, other).faults[0]
    signature, chain = (run / "ledger.sig").read_text(), (run / "ledger.jsonl").read_text()
    (run / "ledger.sig").write_text(signature.replace('"payload":"ewog', '"payload":"ewoh'))
    assert not holds(verify(run, public))
    (run / "ledger.sig").write_text("{}")
    assert "is no signature by this key" in verify(run, public).faults[0]
    (run / "ledger.sig").write_text(signature)
    # Whoever alters a file, its record and the chain together has a sound ledger, and not the signed one.
    folder = model(run)
    (folder / "weights.bin").write_bytes(bytes(256))
    old, new = (hashlib.sha256(content).hexdigest() for content in (bytes(range(256)), bytes(256)))
    record = hashlib.sha256((folder / "record.json").read_bytes()).hexdigest()
    (folder / "record.json").write_text((folder / "record.json").read_text().replace(old, new))
    first, *_ = chain.splitlines()
    forged = first.replace(record, hashlib.sha256((folder / "record.json").read_bytes()).hexdigest())
    (run / "ledger.jsonl").write_text(forged + "\n")
    assert holds(verify(run)) and "is of other bytes than ledger.jsonl has now" in verify(run, public).faults[0]


def test_a_signed_model_goes_with_its_signature_and_others_can_check_it(run: Path, keys: tuple[Path, Path, Path],
                                                                        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    private, public, _ = keys
    monkeypatch.setenv("MEDLOOM_KEY_PASSWORD", "secret")
    signature = sign(run / "latest/model", private)
    assert signature == model(run) / "model.sig" and Ledger(run).verify() == [], "a signature is no output of its step"
    assert holds(verify(run / "latest/model", public))
    found = verify(run, public)
    assert found.faults == (f"{run}: is not signed; sign it with: medloom sign {run} --key FILE",)
    away = tmp_path / "published"
    model(run).rename(away)
    assert holds(verify(away, public)), "under any name"
    peer = [sys.executable, "-m", "model_signing", "verify", "key", str(away), "--signature", str(away / "model.sig"), "--public_key",
            str(public)]
    assert subprocess.run(peer, capture_output=True).returncode == 0
    (away / "config.json").write_text("[]")
    (away / "more.txt").write_text("")
    assert subprocess.run(peer, capture_output=True).returncode != 0
    (away / "record.json").unlink()
    assert "altered since: config.json; gone: record.json; not among what was signed: more.txt" in verify(away, public).faults[0]
    with pytest.raises(Refusal, match="was not checked"):  # the signature alone, and no key
        verify(away)
    (away / "model.sig").unlink()
    assert "is not signed" in verify(away, public).faults[0]


def test_what_does_not_hold_is_not_signed(run: Path, keys: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOOM_KEY_PASSWORD", "secret")
    (model(run) / "weights.bin").write_bytes(bytes(256))
    for place in (run, model(run)):
        with pytest.raises(Refusal, match="mend that before it is signed"):
            sign(place, keys[0])
    with pytest.raises(Refusal, match="not a private key"):
        sign(run.parent, keys[1])
    with pytest.raises(Refusal, match="not a public key"):
        verify(run, keys[0])
    with pytest.raises(Refusal, match="No such file"):
        verify(run, keys[0].with_name("none"))
