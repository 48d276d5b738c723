"""What a network's outputs mean, as a bundle declares it under ``sumu.results``: findings, areas and volumes, numbers.

::

    {"kind": "classification", "output": "probability", "activation": "sigmoid", "otherwise": "CODE"}
    {"kind": "segmentation", "output": "mask", "activation": "softmax",
     "quantities": [{"channel": 1, "measurement": "CODE", "finding": "CODE", "above": 314}]}
    {"kind": "regression", "output": "value", "quantities": [{"channel": 0, "measurement": "CODE"}]}

The channels of a classification are the bundle's labels, spoken at or above their thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models.bundle import Bundle, Tensor
from models.bundle_fields import BundleRefused, Fields


class Kind(StrEnum):
    """What is in an output."""

    CLASSIFICATION = "classification"
    SEGMENTATION = "segmentation"
    REGRESSION = "regression"


class Activation(StrEnum):
    """What is still to be done to the numbers."""

    #: They are probabilities, or the values themselves.
    NONE = "none"
    SIGMOID = "sigmoid"
    #: The channels exclude each other: the largest one is it.
    SOFTMAX = "softmax"
    #: One channel that holds the number of the structure.
    LABELS = "labels"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One number from one channel, and the finding that it makes beyond a limit."""

    #: Channel of the output, from 0; with ``labels`` the structure's number.
    channel: int
    #: Code of a measurement.
    measurement: str
    #: Code of a finding that is spoken above ``above`` or below ``below``, in the measurement's unit.
    finding: str | None
    above: float | None
    below: float | None


@dataclass(frozen=True, kw_only=True)
class Result:
    """The meaning of one output."""

    kind: Kind
    output: Tensor
    activation: Activation
    quantities: tuple[Quantity, ...]
    #: From this probability on a place belongs to a structure.
    threshold: float
    #: Code of the finding that is said where no label is spoken; None to say nothing.
    otherwise: str | None


_ACTIVATIONS = {
    Kind.CLASSIFICATION: (Activation.NONE, Activation.SIGMOID, Activation.SOFTMAX),
    Kind.SEGMENTATION: tuple(Activation),
    Kind.REGRESSION: (Activation.NONE,),
}


def results_of(bundle: Bundle) -> tuple[Result, ...]:
    """Return what the outputs mean.

    Raises
    ------
    BundleRefused
        If an output is not declared, or labels and channels do not fit.
    """
    listed = Fields(bundle.name, "sumu in configs/metadata.json", bundle.declared).items("results")
    results = tuple(_result(bundle, number, one) for number, one in enumerate(listed, start=1))
    if not results:
        raise BundleRefused(
            bundle.name, "sumu.results is empty", remedy="Say what at least one output means; docs/models.md shows how."
        )
    return results


def findings_named(bundle: Bundle, results: tuple[Result, ...]) -> set[str]:
    """Return the codes of all findings that the bundle may speak or keep in its evidence."""
    spoken = {code for result in results for code in (result.otherwise, *(one.finding for one in result.quantities)) if code}
    return spoken | set(bundle.labels)


def measurements_named(results: tuple[Result, ...]) -> set[str]:
    """Return the codes of all measurements."""
    return {one.measurement for result in results for one in result.quantities}


def _result(bundle: Bundle, number: int, described: object) -> Result:
    fields = Fields(bundle.name, f"result {number} of sumu.results", described)
    kind = Kind(fields.text("kind", among=tuple(Kind)))
    outputs = {tensor.name: tensor for tensor in bundle.outputs}
    output = outputs[fields.text("output", among=tuple(outputs))]
    activation = Activation(fields.text("activation", "none", among=_ACTIVATIONS[kind]))
    result = Result(
        kind=kind,
        output=output,
        activation=activation,
        quantities=()
        if kind is Kind.CLASSIFICATION
        else tuple(_quantity(bundle, output, activation, one) for one in fields.items("quantities")),
        threshold=fields.number("threshold", 0.5) if kind is Kind.SEGMENTATION else 0.5,
        otherwise=fields.optional_text("otherwise") if kind is Kind.CLASSIFICATION else None,
    )
    fields.end()
    _fit(bundle, result, fields)
    return result


def _quantity(bundle: Bundle, output: Tensor, activation: Activation, described: object) -> Quantity:
    fields = Fields(bundle.name, f"a quantity of the output '{output.name}'", described)
    quantity = Quantity(
        channel=fields.whole("channel"),
        measurement=fields.text("measurement"),
        finding=fields.optional_text("finding"),
        above=fields.optional_number("above"),
        below=fields.optional_number("below"),
    )
    fields.end()
    channels = output.shape[0]
    if activation is not Activation.LABELS and isinstance(channels, int) and quantity.channel >= channels:
        fields.refuse(f"names channel {quantity.channel}", f"The output has {channels}; the first one is 0.")
    if (quantity.finding is None) != (quantity.above is None and quantity.below is None):
        fields.refuse("has a finding without a limit, or a limit without a finding", "Give both, or neither.")
    return quantity


def _fit(bundle: Bundle, result: Result, fields: Fields) -> None:
    entry, output = bundle.inputs[0], result.output
    if result.kind is Kind.CLASSIFICATION and len(set(bundle.labels)) != len(bundle.labels):
        fields.refuse("names a label twice", "Give each channel a code of its own in sumu.labels.")
    if result.kind is Kind.CLASSIFICATION and output.shape[0] != len(bundle.labels):
        fields.refuse(
            f"reads {output.shape[0]} channels as {len(bundle.labels)} labels", "Name one label for each channel in sumu.labels."
        )
    if not 0 < result.threshold < 1:
        fields.refuse(f"has the threshold {result.threshold:g}", "Give a probability between 0 and 1.")
    if result.kind is Kind.SEGMENTATION:
        if len(output.shape) != len(entry.shape):
            fields.refuse(f"has {len(output.shape) - 1} axes", f"A mask has those of the input: {len(entry.shape) - 1}.")
        if output.shape[1:] != entry.shape[1:]:
            fields.refuse(
                f"has the size {list(output.shape[1:])}, and the input {list(entry.shape[1:])}",
                "Bring the mask to the size of the image inside the network.",
            )
        if entry.patch and result.activation is Activation.LABELS:
            fields.refuse(
                "holds labels, and the input is one window of a larger image",
                "Export probabilities or logits: labels of windows that overlap cannot be averaged.",
            )
    elif entry.patch:
        fields.refuse(
            f"is a {result.kind}, and the input is one window of a larger image",
            "Only a segmentation is read window by window; Resize the whole image for anything else.",
        )
    elif any(side != 1 for side in output.shape[1:]):
        fields.refuse(f"has the shape {output.shape}", "Give one number a channel; pool over the image inside the network.")
