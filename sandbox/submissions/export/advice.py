"""What cannot be trained record by record, and what to write instead? Words only; nothing here runs a model."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

_LIST = "sandbox/submissions/README.md lists what a model may use."


@dataclass(frozen=True)
class Advice:
    """What is wrong with something, and what to use in its place."""

    what: str
    todo: str


_BATCH = "looks at other records of its batch, so no person's part in the training could be bounded"
_WRITES = "writes to a tensor that outlives the record"
_RANDOM = "draws random numbers"
_VALUES = "decides by a record's values which code runs or how large a tensor is"
_NO_STATE = "Compute from this record and the weights only; keep fixed tensors with register_buffer."
_WHERE = (
    "Let every record take the same path: torch.where(condition, a, b), or multiply by a mask of 0 and 1."
)
_DROPOUT = "Use nn.Dropout; the training decides when it acts."

MODULES: dict[str, Advice] = {
    "torch.nn.modules.batchnorm._BatchNorm": Advice(
        _BATCH, "Use nn.GroupNorm for images and sequences, nn.LayerNorm for tables."
    ),
    "torch.nn.modules.instancenorm._InstanceNorm": Advice(
        "keeps running statistics of the records it has seen",
        "Use track_running_stats=False, or nn.GroupNorm.",
    ),
    "torch.nn.modules.lazy.LazyModuleMixin": Advice(
        "takes its shape from the first batch, and there is none yet",
        "Use the module without Lazy in its name; `inputs` says how wide everything is.",
    ),
    "torch.nn.modules.sparse.EmbeddingBag": Advice(
        "is not among the operators", "Use nn.Embedding and take .sum(1) or .mean(1) of what it returns."
    ),
    "torch.nn.modules.dropout.AlphaDropout": Advice(_RANDOM, _DROPOUT),
    "torch.nn.modules.dropout.FeatureAlphaDropout": Advice(_RANDOM, _DROPOUT),
    "torch.nn.modules.activation.RReLU": Advice(_RANDOM, "Use nn.LeakyReLU."),
    "torch.nn.modules.pooling.FractionalMaxPool2d": Advice(_RANDOM, "Use nn.MaxPool2d."),
    "torch.nn.modules.pooling.FractionalMaxPool3d": Advice(_RANDOM, "Use nn.MaxPool3d."),
    "torch.nn.utils.parametrizations._SpectralNorm": Advice(
        "writes to its buffers at every record",
        "Leave spectral_norm out; clipping bounds what a record does.",
    ),
    "torch.nn.parallel.data_parallel.DataParallel": Advice(
        "spreads batches over devices", "Return the module inside it; the platform chooses how to train."
    ),
    "torch.nn.parallel.distributed.DistributedDataParallel": Advice(
        "spreads batches over devices", "Return the module inside it; the platform chooses how to train."
    ),
    "torch.jit._script.ScriptModule": Advice(
        "is compiled already", "Return the nn.Module as it is, without torch.jit."
    ),
    "torch._dynamo.eval_frame.OptimizedModule": Advice(
        "is compiled already", "Return the nn.Module as it is, without torch.compile."
    ),
    "torch.ao.nn.*": Advice("is quantised", "Use the layer of the same name in torch.nn."),
}
"""Class -> advice, for the class and whatever inherits from it."""

_BATCH_NORM = Advice(_BATCH, "Use F.group_norm or F.layer_norm.")
_RANDOM_HERE = Advice(_RANDOM, f"{_DROPOUT} Fixed random weights can be made in __init__.")
_SORTS = Advice(
    "sorts by a record's values", "Use max, amax, softmax or a mean along that dimension instead of sorting."
)
_SIZE = Advice(_VALUES, _WHERE)
_COMPLEX = Advice(
    "works with complex numbers", "Use conv1d or learned linear maps, which stay with real numbers."
)
_BRANCHES = Advice("runs other code by a record's values", _WHERE)

OPERATORS: dict[str, Advice] = {
    "*batch_norm*": _BATCH_NORM,
    **dict.fromkeys(("rand*", "bernoulli*", "normal*", "multinomial*", "*_noise*", "uniform*"), _RANDOM_HERE),
    **dict.fromkeys(("exponential*", "geometric*", "poisson*", "*_dropout*", "cauchy*"), _RANDOM_HERE),
    **dict.fromkeys(("sort", "argsort", "topk", "msort", "kthvalue", "median", "nanmedian", "mode"), _SORTS),
    **dict.fromkeys(("nonzero*", "masked_select", "unique*", "_unique*", "bincount", "histc"), _SIZE),
    **dict.fromkeys(("item", "_local_scalar_dense", "sym_*", "is_nonzero", "equal", "allclose"), _SIZE),
    **dict.fromkeys(("fft_*", "_fft_*", "stft", "*complex*", "view_as_real", "polar"), _COMPLEX),
    **dict.fromkeys(("cond", "while_loop", "map_impl", "scan", "associative_scan"), _BRANCHES),
    "*embedding_bag*": Advice("is an embedding bag", MODULES["torch.nn.modules.sparse.EmbeddingBag"].todo),
    "embedding_renorm": Advice(
        "writes to the weights of an embedding", "Leave max_norm out of nn.Embedding."
    ),
    "empty*": Advice("reads memory that nobody has written", "Use torch.zeros."),
    "new_empty*": Advice("reads memory that nobody has written", "Use torch.zeros."),
    "wrap_with_autocast": Advice(
        "works in half precision", "Leave torch.autocast out; models train in float32."
    ),
    "wrap_with_set_grad_enabled": Advice("switches gradients off", "Use .detach() on the tensor instead."),
    **dict.fromkeys(
        ("linalg_*", "_linalg_*", "svd", "cholesky*", "qr", "geqrf"),
        Advice(
            "decomposes a matrix", "Learn the map as a weight, or compute it once in __init__ as a buffer."
        ),
    ),
}
"""Pattern of an ATen operator's name -> advice."""

_NOT_THERE = "asks for something that is not there while a model is built ({message})"

ERRORS: tuple[tuple[str, Advice], ...] = (
    (
        r"^(ModuleNotFoundError|ImportError)",
        Advice(_NOT_THERE, "Use torch, numpy, Python's own library and the submission's other files."),
    ),
    (
        r"^(PermissionError|FileNotFoundError|BlockingIOError|ConnectionError|gaierror|URLError|OSError)",
        Advice(_NOT_THERE, "A model may compute and nothing else: no files, network, processes or threads."),
    ),
    (r"^(SystemExit|KeyboardInterrupt)", Advice("ends the program", "Return the module from build instead.")),
    (r"data-dependent|GuardOnDataDependent|DataDependentOutput|DynamicOutputShape", _SIZE),
    (r"Expected more than 1 value per channel", _BATCH_NORM),
    (
        r"Constant \S+ is mutated|fake tensor in the exported program|No tensor can be written in place",
        Advice(_WRITES, _NO_STATE),
    ),
    (
        r"\.numpy\(\) is not supported|Cannot access data pointer|can't convert|tolist\(\)|"
        r"The tensor has a non-zero number of elements, but its data is not allocated",
        Advice("leaves torch: NumPy and plain Python cannot be followed", "Use torch operations throughout."),
    ),
    (
        r"PackedSequence|pack_padded|lengths",
        Advice("packs sequences", "Give the GRU or LSTM the padded tensor, and mask what it returns."),
    ),
    (
        r"element 0 of tensors does not require grad|One of the differentiated Tensors|\.backward\(",
        Advice("computes gradients itself", "Return the answer only; the training computes gradients."),
    ),
)
"""Pattern of an error of torch, raised in the developer's code -> advice."""

SHAPE_BY_VALUE = _SIZE
RANDOM = _RANDOM_HERE
SCALED_BY_FREQUENCY = Advice(
    "counts categories over its batch", "Leave scale_grad_by_freq out of nn.Embedding."
)
ASSIGNED = Advice("keeps a tensor of this record on the module", _NO_STATE)
WRITTEN = Advice(_WRITES, _NO_STATE)
NOT_FINITE = Advice("starts with a weight that is not a number", "Start every weight at a finite value.")
NO_WEIGHTS = Advice(
    "has no weight that training could change",
    "Use nn.Parameter or layers, and let the answer depend on them.",
)
OTHER_ANSWERS = Advice(
    "answers differently as a graph than as a module",
    "forward may depend on its inputs and weights only: no counters, Python random numbers, clocks or "
    "self.training.",
)
OTHER_GRADIENTS = Advice(
    "learns differently as a graph than as a module",
    "Use .detach() where gradients must stop; no_grad, hooks and autograd.Function cannot be followed.",
)


def of_module(names: list[str]) -> Advice | None:
    """Advice for a module whose class and base classes have these names (`module.Class`), nearest first."""
    return next((advice for name in names for key, advice in MODULES.items() if fnmatchcase(name, key)), None)


def special(name: str) -> Advice | None:
    """Advice of its own for an ATen operator: `name` is without namespace and overload."""
    return next((advice for pattern, advice in OPERATORS.items() if fnmatchcase(name, pattern)), None)


def of_operator(name: str) -> Advice:
    """Advice for an ATen operator that the table lacks."""
    what = f"uses {name}, which is not among the operators"
    return special(name) or Advice(what, f"Write it with operators that are. {_LIST}")


def misfit(name: str, reason: str) -> Advice:
    """Advice for an operator that the table has, but not with these arguments."""
    return Advice(f"uses {name}, and {reason}", f"Give it arguments of that form. {_LIST}")


def precision(dtype: str) -> Advice:
    """Advice for tensors of a dtype that graphs do not have."""
    return Advice(
        f"works in {dtype}", "Use float32 for numbers and int64 for whole numbers: .float(), .long()."
    )


def of_error(kind: str, message: str) -> Advice:
    """Advice for an exception that following the developer's code raised."""
    text = f"{kind}: {message}"
    found = next((advice for pattern, advice in ERRORS if re.search(pattern, text)), None)
    first = next((line for line in message.splitlines() if line.strip()), "").strip()
    if found is None:
        return Advice(f"failed with {kind}: {first}" if first else f"failed with {kind}", "Mend that line.")
    return replace(found, what=found.what.replace("{message}", first))
