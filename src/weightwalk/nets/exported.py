"""Exported programs (.pt2, from ``torch.export.save``)."""

from __future__ import annotations

import io
import logging
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from weightwalk.errors import UsageError
from weightwalk.nets.inputs import Expects
from weightwalk.nets.net import Net
from weightwalk.nets.sieve import sieve_json, sieve_tensors

LEGACY = "serialized_exported_program.json"
RAW = ("weight_", "tensor_", "archive_format", "archive_version", "version", "byteorder", "serialization_id")


def exported_net(path: Path) -> Net:
    """The network in a ``.pt2`` file, with its modules as they were where the program still tells.

    Nothing in the file is unpickled or run but PyTorch's own operators; see `weightwalk.nets.sieve`.

    Raises:
        UsageError: No such file, a damaged one, one that could run code, or one that this torch cannot read.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {str(path)!r}.")
    try:
        archive = _sifted(path)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
    try:
        with _quiet():
            program = torch.export.load(archive)
            module = _module(program)
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise UsageError(
            f"torch {torch.__version__} cannot load the exported program {str(path)!r} "
            f"({type(error).__name__}: {text}); export it anew with this version of torch."
        ) from error
    provenance = {"kind": "exported", "source": str(path), "torch": torch.__version__}
    description = f"exported program with {len(list(program.graph.nodes)):,} nodes"
    return Net(path.name, module, description, _expects(program), provenance=provenance)


def _sifted(path: Path) -> io.BytesIO:
    """The archive written anew from what the sieve lets through."""
    parts = _parts(path)
    sifted: dict[str, bytes] = {}
    for name, data in parts.items():
        last = name.rsplit("/", 1)[-1]
        if name.endswith(".json"):
            sifted[name] = sieve_json(data, name)
        elif name.endswith(".pt"):
            sifted[name] = sieve_tensors(data, name)
        elif last.startswith(RAW):
            sifted[name] = data
        elif not name.startswith(("extra/", "extra_files/")):
            raise UsageError(
                f"The exported program {str(path)!r} holds {name!r}, which is neither tensors nor a graph "
                "(compiled code is not run): export it with torch.export.save."
            )
    out = io.BytesIO()
    if LEGACY in sifted:
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in sifted.items():
                archive.writestr(name, data)
    else:
        writer = torch._C.PyTorchFileWriter(out)
        for name, data in sifted.items():
            if name not in ("byteorder", ".data/serialization_id", ".data/version", "version"):
                writer.write_record(name, data, len(data))
        writer.write_end_of_file()
    out.seek(0)
    return out


def _parts(path: Path) -> dict[str, bytes]:
    """The files in the archive by name, without the leading directory that torch puts before them."""
    damaged = f"{str(path)!r} is no exported program, or a damaged one"
    cure = "; a .pt2 file is written by torch.export.save."
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise UsageError(f"{damaged}: it holds two files of one name{cure}")
            parts = {name: archive.read(name) for name in names if not name.endswith("/")}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{damaged} ({error}){cure}") from None
    if LEGACY in parts:
        return parts
    roots = {name.split("/", 1)[0] for name in parts}
    if len(roots) != 1 or not any("/models/" in name for name in parts):
        raise UsageError(f"{damaged}: it holds no graph{cure}")
    return {name.split("/", 1)[1]: data for name, data in parts.items() if "/" in name}


def _module(program: Any) -> torch.nn.Module:
    """With the modules of the original where the program can be unflattened, so that a walk has their names."""
    try:
        return torch.export.unflatten(program)
    except Exception:
        return program.module()


def _expects(program: Any) -> Expects:
    """Shapes and dtype of the inputs, read off the graph's placeholders."""
    names = set(program.graph_signature.user_inputs)
    shapes, dtypes = [], []
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and node.name in names and isinstance(value, torch.Tensor):
            shapes.append(tuple(s if isinstance(s, int) else -1 for s in value.shape))
            dtypes.append(value.dtype)
    if len(shapes) == 1:
        return Expects(dtypes[0], shapes=tuple(shapes), batched=False, what="this program")
    return Expects(next((d for d in dtypes if d.is_floating_point), torch.float32), shapes=tuple(shapes))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own log lines and warnings, which tell of what is told better here, or of torch itself."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
