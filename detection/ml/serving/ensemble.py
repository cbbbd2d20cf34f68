"""Serves an ensemble: several networks that are run as one."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from detection.ml.bundle import Bundle
from detection.ml.errors import BundleError, MLError
from detection.ml.serving.network import Array, Canvases, Features, ServedNetwork

Calibration = Mapping[str, float]


def open_served(bundle: Bundle, *, threads: int | None = None) -> ServedNetwork:
    """Open the network of a bundle, or the networks of an ensemble. Raises BundleError."""
    opened = EnsembleNetwork if bundle.is_ensemble else ServedNetwork
    return opened(bundle, threads=threads)


def calibrated(cells: Sequence[Array], *, calibrations: Sequence[Calibration]) -> Array:
    """Return the cells of each member as calibrated logits, float32 `(members, ...)`."""
    return np.stack(
        [
            (told["slope"] * one + told["intercept"]).astype(np.float32)
            for one, told in zip(cells, calibrations, strict=True)
        ]
    )


def combine(
    cells: Sequence[Array], *, calibrations: Sequence[Calibration], weights: Sequence[float]
) -> Array:
    """Merge the maps of the members, cell by cell, on the one grid that they share.

    Parameters
    ----------
    cells : sequence of np.ndarray
        The logits of each member, arrays of one shape such as `(n, h / 8, w / 8)`.
    calibrations : sequence of mapping
        `slope` and `intercept` of each member's own Platt scaling.
    weights : sequence of float
        The convex weight of each member.

    Returns
    -------
    np.ndarray
        float32, of the shape of one member: the weighted mean of the calibrated logits.
    """
    return _merged(calibrated(cells, calibrations=calibrations), weights)


class EnsembleNetwork(ServedNetwork):
    """The loaded networks of an ensemble, which read a picture one after the other.

    Each member is loaded once. One computes at a time, on the threads that a single network has.
    A member that fails takes the whole ensemble with it.

    Parameters
    ----------
    networks : sequence of ServedNetwork, optional
        The networks of the members in their order, if they are open already.

    Raises
    ------
    BundleError
        If a member cannot be loaded.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        networks: Sequence[ServedNetwork] | None = None,
    ) -> None:
        threads = threads or min(4, os.cpu_count() or 1)
        self.members = bundle.networks
        try:
            self._networks = networks or [
                ServedNetwork(member, threads=threads, is_alone=False) for member in self.members
            ]
        except BundleError as error:
            raise BundleError(
                f"A member of the ensemble {bundle.name} cannot be used. {error}"
            ) from error
        self._calibrations = [member.calibration for member in self.members]
        self._weights = [member.weight for member in bundle.members]
        # The features are those that the gate judges.
        gate = bundle.manifest.get("gate", {}).get("member", self.members[0].name)
        self._gate_index = [member.name for member in self.members].index(gate)
        self.member_thresholds = tuple(_balanced(member) for member in self.members)
        self.preprocessing = bundle.preprocessing

    def run(self, canvases: Canvases) -> tuple[Array, Features]:
        """Run every member on canvases, uint8 `(n, height, width)`.

        Returns
        -------
        logits : np.ndarray
            The combined logits, float32 `(n, h / 8, w / 8)`.
        features : mapping
            Those of the member whose gate judges.

        Raises
        ------
        MLError
            If a logit of a member is not finite; the sentence names the member.
        """
        cells, features, _ = self.run_members(canvases)
        return cells, features

    def run_members(self, canvases: Canvases) -> tuple[Array, Features, Array | None]:
        outputs = []
        for member, network in zip(self.members, self._networks, strict=True):
            try:
                outputs.append(network.run(canvases))
            except MLError as error:
                raise MLError(
                    f"{error} The member {member.name} of the ensemble failed."
                ) from error
        cells = calibrated([one for one, _ in outputs], calibrations=self._calibrations)
        return _merged(cells, self._weights), outputs[self._gate_index][1], cells


def _merged(cells: Array, weights: Sequence[float]) -> Array:
    return np.tensordot(np.asarray(weights, np.float64), cells, axes=1).astype(np.float32)


def _balanced(member: Bundle) -> float:
    try:
        return float(member.manifest["operating_points"]["balanced"]["threshold"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"The member {member.name} has no balanced operating point, so that nothing says when "
            "it sees a stone."
        ) from error
