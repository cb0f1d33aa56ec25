"""What a run is: frozen dataclasses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .plugs import is_plug, plug_sha256

ADAPTER_KINDS = (
    "zero_shot", "linear_probe", "taskres", "tip_adapter", "tip_adapter_f", "clip_adapter",
)  # fmt: skip
TRAINED_KINDS = ("taskres", "tip_adapter_f", "clip_adapter")
PROTOCOLS = ("last", "best_val", "last+val_search")


def one_of(where: str, value: str, options: Sequence[str]) -> None:
    """Refuse a value that is none of the options.

    Args:
        where: What errors call it.
        value: The value.
        options: What it may be.

    Raises:
        ValueError: If it is something else.
    """
    if value not in options:
        listed = ", ".join(f'"{option}"' for option in options)
        raise ValueError(f"`{where}` should be one of {listed}. Got {value!r}.")


def _at_least_1(options: object, section: str, names: Sequence[str]) -> None:
    """Refuse sizes below 1."""
    for name in names:
        if getattr(options, name) < 1:
            raise ValueError(
                f"`{section}.{name}` should be 1 or more. Got {getattr(options, name)}."
            )


def _not_negative(options: object, section: str, names: Sequence[str]) -> None:
    """Refuse factors below 0."""
    for name in names:
        if not getattr(options, name) >= 0:
            raise ValueError(
                f"`{section}.{name}` should be 0 or more. Got {getattr(options, name)}."
            )


@dataclass(frozen=True)
class AdapterOptions:
    """Which adapter, and its fixed factors.

    Attributes:
        kind: ``"zero_shot"``, ``"linear_probe"``, ``"taskres"``, ``"tip_adapter"``,
            ``"tip_adapter_f"`` or ``"clip_adapter"``; or a class of the user,
            ``"file.py:Name"`` or ``"module:Name"``.
        residual_scale: TaskRes: factor of the learned residual. CLIP-Adapter: share of the adapted
            features.
        cache_weight: Tip-Adapter: weight of the cache's prediction, in units of a hundredth of the
            logit scale, so that published values (for a scale of 100) keep their meaning.
        sharpness: Tip-Adapter: sharpness of the affinity.
        search_sharpness: Tip-Adapter: upper end of the search over the sharpness.
        search_cache_weight: Tip-Adapter: upper end of the search over the weight, same units.
        normalize: TaskRes: which views of the constraint have unit length: ``"both"`` or
            ``"image"``.
        settings: Numbers of an adapter of the user.
    """

    kind: str
    residual_scale: float = 1.0
    cache_weight: float = 1.0
    sharpness: float = 1.0
    search_sharpness: float = 12.0
    search_cache_weight: float = 5.0
    normalize: str = "both"
    settings: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        if not is_plug(self.kind):
            one_of("adapter.kind", self.kind, ADAPTER_KINDS)
        one_of("adapter.normalize", self.normalize, ("both", "image"))
        searched = ("search_sharpness", "search_cache_weight")
        _not_negative(self, "adapter", ("cache_weight", "sharpness", *searched))


@dataclass(frozen=True)
class TextOptions:
    """Where the class texts come from.

    Attributes:
        projection: ``"frozen"``, or ``"tuned"``: the backbone's text projection is trained on the
            few-shot images first (HC* of the paper, "enhanced" of TaskRes).
        checkpoint: With ``"tuned"``: a checkpoint of TaskRes's enhanced bases to take the weight
            from, instead of training it; ``{shots}`` in its path stands for their number.
        underscores: ``"replaced"`` by spaces in class names, or ``"kept"`` as TaskRes's code does.
        learning_rate: Adam's, for the projection.
        epochs: Epochs, a cosine over them.
        batch_size: Images a step.
    """

    projection: str = "frozen"
    checkpoint: str = ""
    underscores: str = "replaced"
    learning_rate: float = 1e-3
    epochs: int = 20
    batch_size: int = 256

    def __post_init__(self) -> None:
        """Refuse unknown choices and sizes below 1."""
        one_of("text.projection", self.projection, ("frozen", "tuned"))
        one_of("text.underscores", self.underscores, ("replaced", "kept"))
        _at_least_1(self, "text", ("epochs", "batch_size"))
        _not_negative(self, "text", ("learning_rate",))


@dataclass(frozen=True)
class TrainingOptions:
    """How the adapter's parameters are found.

    Attributes:
        optimizer: ``"adam"`` (L2 penalty in the gradient), ``"adamw"`` (decoupled decay), or
            ``"adamw_half"``: AdamW in float16, as the official codes of Tip-Adapter-F and HC-TAF
            run it, see :class:`vlm_adapters.optimizers.HalfAdamW`.
        learning_rate: Initial learning rate.
        weight_decay: Penalty or decay factor.
        eps: The optimiser's denominator constant.
        epochs: Epochs.
        epochs_from_8_shots: Epochs from eight shots on; 0 stands for ``epochs``. A preset or an
            override that sets ``epochs`` alone sets them for all shot counts.
        batch_size: Images a step.
        drop_last: Drop the last, smaller batch where there is a full one.
        schedule: ``"epoch_cosine"``: one warm-up epoch, then a cosine by epochs (TaskRes);
            ``"step_cosine"``: a cosine by steps (Tip-Adapter).
        warmup_learning_rate: Learning rate of the warm-up epoch of ``"epoch_cosine"``.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    eps: float = 1e-8
    epochs: int = 100
    epochs_from_8_shots: int = 0
    batch_size: int = 256
    drop_last: bool = False
    schedule: str = "epoch_cosine"
    warmup_learning_rate: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse unknown choices and sizes below 1."""
        one_of("training.optimizer", self.optimizer, ("adam", "adamw", "adamw_half"))
        one_of("training.schedule", self.schedule, ("epoch_cosine", "step_cosine"))
        _at_least_1(self, "training", ("epochs", "batch_size"))
        rates = ("learning_rate", "warmup_learning_rate")
        _not_negative(self, "training", (*rates, "weight_decay", "eps", "epochs_from_8_shots"))


@dataclass(frozen=True)
class ConstraintOptions:
    """The homology-consistency constraint.

    Attributes:
        weight: With ``"constant"`` the factor of the constraint (the paper's eta); with ``"ratio"``
            the ratio of gradient norms (the paper's omega). 0 leaves the constraint out.
        unit: Of a constant weight: ``"logit_scale"`` (the paper's 0.15) or ``"absolute"`` (its 15).
        coincidence_weight: Weight of the track coincidence, 1 in the paper; 0 for ablations.
        perturbation_weight: Weight of the deviating perturbation within the constraint.
        combination: ``"constant"`` or ``"ratio"``.
        norm: Scope of the ratio: ``"global"``, ``"per_parameter"`` or ``"rowwise"``.
        dimensions: Homology dimensions of the track coincidence, 0 first.
        orientation: Of the edges of tracks above dimension 0: ``"aligned"`` turns a death edge that
            opposes its birth edge among the image features, ``"index"`` orients both by their
            indices, as equation 4 does.
        same_label_edges: ``"drop"`` the edges of the spanning tree between images of one class
            before both terms, or ``"keep"`` them.
        undirected: ``undefined`` of :func:`topreg.track_coincidence`.
        related: As in :func:`topreg.deviating_perturbation`.
        unrelated: ``undefined`` of :func:`topreg.deviating_perturbation`.
        match_norms: As in :func:`topreg.deviating_perturbation`.
        memory_batches: Earlier batches of the epoch whose features are joined.
        memory_classes: ``"current"`` joins those of the batch's classes only, ``"all"`` every one.
        memory_pairs: ``"keep"`` or ``"drop"`` the pairs that lie within the memory.
        distance_dtype: ``"float32"``, or ``"float16"``: distances rounded to half precision before
            they are ordered, as the authors' code has them.
    """

    weight: float = 0.0
    unit: str = "logit_scale"
    coincidence_weight: float = 1.0
    perturbation_weight: float = 0.0
    combination: str = "constant"
    norm: str = "global"
    dimensions: tuple[int, ...] = (0,)
    orientation: str = "aligned"
    same_label_edges: str = "drop"
    undirected: str = "skip"
    related: str = "all"
    unrelated: str = "skip"
    match_norms: bool = True
    memory_batches: int = 0
    memory_classes: str = "current"
    memory_pairs: str = "keep"
    distance_dtype: str = "float32"

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        one_of("constraint.unit", self.unit, ("logit_scale", "absolute"))
        one_of("constraint.combination", self.combination, ("constant", "ratio"))
        one_of("constraint.norm", self.norm, ("global", "per_parameter", "rowwise"))
        one_of("constraint.orientation", self.orientation, ("aligned", "index"))
        one_of("constraint.same_label_edges", self.same_label_edges, ("drop", "keep"))
        one_of("constraint.undirected", self.undirected, ("skip", "zero"))
        one_of("constraint.related", self.related, ("endpoints", "all"))
        one_of("constraint.unrelated", self.unrelated, ("skip", "zero"))
        one_of("constraint.memory_classes", self.memory_classes, ("current", "all"))
        one_of("constraint.memory_pairs", self.memory_pairs, ("keep", "drop"))
        one_of("constraint.distance_dtype", self.distance_dtype, ("float32", "float16"))
        _not_negative(self, "constraint", ("weight", "coincidence_weight", "perturbation_weight"))
        if self.dimensions[:1] != (0,) or len(set(self.dimensions)) < len(self.dimensions):
            raise ValueError(
                "`constraint.dimensions` should begin with 0 and hold each once. "
                f"Got {list(self.dimensions)}."
            )
        if self.memory_batches < 0:
            raise ValueError(
                f"`constraint.memory_batches` should be 0 or more. Got {self.memory_batches}."
            )


@dataclass(frozen=True)
class RegularizerOptions:
    """One more regulariser, added to the cross-entropy.

    Attributes:
        use: A loss of topreg across two spaces, such as ``"SignatureLoss"``, or a function of the
            user, ``"file.py:name"`` or ``"module:name"``.
        weight: Factor of the sum of its terms; 0 leaves it out.
        settings: Options of the loss, or arguments by name of the function.
    """

    use: str = ""
    weight: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise if a weight has no regulariser, or is negative."""
        _not_negative(self, "regularizer", ("weight",))
        if self.weight and not self.use:
            raise ValueError(
                "`regularizer.use` should name a regulariser. Got none, with a weight of "
                f"{self.weight}. Name one, or set `regularizer.weight` to 0."
            )


@dataclass(frozen=True)
class Method:
    """One row of a table: an adapter, its training, its constraint.

    Attributes:
        title: What tables and figures call it.
        protocol: Which number is its headline; one of :data:`PROTOCOLS`.
        adapter: Which adapter.
        text: Class texts.
        training: How it is trained.
        constraint: The constraint, left out at weight 0.
        regularizer: One more regulariser, left out at weight 0.
    """

    title: str
    adapter: AdapterOptions
    protocol: str = "last"
    text: TextOptions = TextOptions()
    training: TrainingOptions = TrainingOptions()
    constraint: ConstraintOptions = ConstraintOptions()
    regularizer: RegularizerOptions = RegularizerOptions()

    def __post_init__(self) -> None:
        """Refuse a protocol that the adapter does not have."""
        last, best_val, search = PROTOCOLS
        kind = self.adapter.kind
        if is_plug(kind):  # its class alone knows
            one_of("protocol", self.protocol, PROTOCOLS)
            return
        best = [best_val] * (kind in TRAINED_KINDS)
        one_of("protocol", self.protocol, [last, *best, *[search] * kind.startswith("tip_adapter")])
        for section in ("constraint", "regularizer"):
            weight = getattr(self, section).weight
            if weight and kind not in TRAINED_KINDS:
                raise ValueError(
                    f'`{section}.weight` should be 0 with `adapter.kind = "{kind}"`, whose '
                    f"features are not trained by gradients. Got {weight}."
                )


def plug_hashes(method: Method) -> list[str]:
    """Hash the code of the user on which a method depends."""
    return [plug_sha256(spec) for spec in (method.adapter.kind, method.regularizer.use)]
