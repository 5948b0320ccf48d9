"""The rows of the tables in Ravi's thesis: which of our detectors each one is, and what the thesis prints for it."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from vidence.errors import SpecError

CELLS = {"RNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
MODES = {"autoencoder": "plain", "bidirectional": "bidirectional", "seq2seq": "seq2seq"}
DECODERS = {"Y": "time-distributed", "N": "recurrent"}
PRINTED_SETS = {  # our key: its name in tables 4.8 and 4.9, its column in table 4.13
    "avenue": ("AVENUE", "avenue"),
    "subway-entrance": ("SUBWAY ENTRANCE", "entrance"),
    "subway-exit": ("SUBWAY EXIT", "exit"),
    "ucsd-ped1": ("UCSD1", "ucsd1"),
    "ucsd-ped2": ("UCSD2", "ucsd2"),
    "ham10000": ("HAM10000", None),
    "mvtec": ("MVTec", None),
    "driver": ("DDDS", None),
}
PRINTED = {"auc": "auc_roc", "eer": "eer", "precision": "precision", "recall": "recall", "f1": "f1"}
CLASSWISE = {"ham10000": "thesis_4_6_ham10000_auc.csv", "driver": "thesis_4_7_ddds_auc.csv"}


@dataclass(frozen=True)
class Row:
    """`name` as the thesis prints it (ours where it has none), its `table`, the detector's `line`; `starts_from` names
    the row whose trained detector this one tunes further.
    """

    name: str
    table: str
    line: str
    starts_from: str = ""


BASELINES = (
    Row("random", "baseline", "random"),
    Row("mean frame", "baseline", "mean-frame"),
    Row("previous frame", "baseline", "previous-frame"),
)
PLAIN = Row("BCAE1", "4.8", "bcae1")
ATTENTION = (
    PLAIN,
    Row("AA CAE", "4.8", "aa-cae"),
    Row("SE CAE", "4.8", "se-cae"),
    Row("SA CAE", "4.8", "sa-cae"),
    Row("SSA CAE", "4.8", "ssa-cae"),
)
TUNED = (
    Row("BCAE1 + SVDD", "4.9", "bcae1(svdd='tuned')", starts_from="BCAE1"),
    Row("BCAE1 + SVDD, distance", "ours", "bcae1(svdd='tuned', score='centre-distance')", starts_from="BCAE1"),
    Row("BCAE1, SVDD joint", "ours", "bcae1(svdd='joint')"),
    Row("BCAE1, SVDD from scratch", "ours", "bcae1(svdd='scratch', score='centre-distance')"),
)
KERNELS = (
    Row("CAE, MSE", "4.6", "bcae2"),
    Row("CAE, MSE + SSIM", "4.6", "bcae2(loss='compound')"),
    Row("KS-CAE, MSE", "4.6", "ks-cae(loss='mse')"),
    Row("KS-CAE, MSE + SSIM", "4.6", "ks-cae(loss='compound')"),
)
COMPARED = (  # the thesis quotes these from other papers; ours are small versions
    Row("Conv-AE [32]", "quoted", "conv-ae"),
    Row("Conv3D AE [44]", "quoted", "conv3d-ae"),
    Row("ConvLSTM AE [44]", "quoted", "convlstm-predict"),
    Row("U-Net AE [61]", "quoted", "unet-predict"),
)
OURS = (
    Row("SSA CAE, mask in [.3, 1]", "ours", "ssa-cae(scaled=True)"),
    Row("all combined", "ours", "cae-all"),
    Row("VAE", "ours", "vae"),
    Row("GANomaly", "ours", "ganomaly"),
)


def rows_for(dataset: str) -> tuple[Row, ...]:
    """Every row that makes sense for a set: image sets have neither a previous frame nor recurrent networks."""
    if dataset in ("ham10000", "mvtec", "driver", "magnetic-tile"):
        return (*BASELINES[:2], *ATTENTION, *TUNED, *KERNELS, *OURS)
    return (*BASELINES, *ATTENTION, *TUNED, *recurrent(), *COMPARED, *OURS)


def chosen(dataset: str, asked: Sequence[str]) -> tuple[Row, ...]:
    """Rows by name or by table ('BCAE1', '4.13', 'baseline'), in the tables' order; all without a choice.

    A row that starts from another brings that one along. Raises `SpecError` for a name that is neither.
    """
    rows = rows_for(dataset)
    known = {row.name for row in rows} | {row.table for row in rows}
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise SpecError(f"a row is one of {', '.join(sorted(known))}; got {', '.join(unknown)}.")
    wanted = [row for row in rows if not asked or row.name in asked or row.table in asked]
    needed = {row.starts_from for row in wanted} | {row.name for row in wanted}
    return tuple(row for row in rows if row.name in needed)


def printed(dataset: str, row: Row) -> dict[str, float]:
    """What the thesis prints, as fractions: `auc`, `eer`, `precision`, `recall`, `f1` (weighted, at the best threshold
    of the test set) and `class_mean_auc`, as far as it prints them.
    """
    name, column = PRINTED_SETS.get(dataset, (None, None))
    if row.table == "4.13" and column:
        found = next(each for each in _table("thesis_4_13_auc_eer.csv") if each["model"] == row.name)
        return {"auc": float(found[f"{column}_auc"]), "eer": float(found[f"{column}_eer"])}
    if row.table == "4.6":
        return _class_mean(dataset, row)
    for each in _table("thesis_4_9_svdd.csv" if row.table == "4.9" else "thesis_4_8_attention.csv"):
        if (each["dataset"], each["model"]) == (name, row.name):
            held = {key: each[f"{long}_pct"] for key, long in PRINTED.items()}
            return {key: float(value) / 100 for key, value in held.items() if value}
    return {}


def _class_mean(dataset: str, row: Row) -> dict[str, float]:
    """Tables 4.6 and 4.7 print an AUC per class and their mean, which is not the AUC of all classes together."""
    model, loss = (re.sub(r"\W", "", part) for part in row.name.split(", "))
    for each in _table(CLASSWISE[dataset]) if dataset in CLASSWISE else ():
        if (re.sub(r"\W", "", each["model"]), re.sub(r"\W|proposed", "", each["loss"])) == (model, loss):
            return {"class_mean_auc": float(each["MEAN"])}
    return {}


@cache
def recurrent() -> tuple[Row, ...]:
    """The 45 rows of table 4.13."""
    return tuple(_recurrent(each) for each in _table("thesis_4_13_auc_eer.csv"))


def _recurrent(each: dict[str, str]) -> Row:
    settings = {
        "cell": CELLS[each["cell"]],
        "mode": MODES[each["family"]],
        "layers": int(each["L_R"]),
        "decoder": DECODERS[each["DUT"]],
    }
    line = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    return Row(each["model"], "4.13", f"conv-recurrent({line})")


@cache
def _table(name: str) -> tuple[dict[str, str], ...]:
    text = (files("vidence.evaluate") / "published" / name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
