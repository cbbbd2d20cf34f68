// The findings of the page jump to their slice and place in the viewer.

import { toVoxel } from "./viewer-places.js";
import { isPressed, press } from "./viewer-tools.js";

// A button may name another place with data-plane, data-slice, data-x and data-y.
function placeOf(button, { planes, findings }) {
  const { finding, plane, slice, x, y } = button.dataset;
  const index = Math.max(
    0,
    planes.findIndex(({ name }) => name === plane),
  );
  if (slice !== undefined && x !== undefined && y !== undefined) {
    const voxel = toVoxel(planes[index], { slice: +slice, row: +y, column: +x });
    return { index, voxel };
  }
  const own = findings.find(({ rank }) => String(rank) === finding);
  return own && { index, voxel: own.centre };
}

// `choose(rank, place)` shows a finding, or the whole image again if place is null.
export function startFindings({ stage, planes, findings, choose }) {
  const buttons = [...document.querySelectorAll("[data-finding]")];
  for (const button of buttons) {
    button.addEventListener("click", (event) => {
      // A reader who clicks goes on in the image; one who came by keys stays in the list.
      if (event.detail > 0) {
        stage.focus({ preventScroll: true, focusVisible: false });
      }
      const isChosen = !isPressed(button);
      buttons.forEach((other) => press(other, other === button && isChosen));
      choose(
        isChosen ? Number(button.dataset.finding) : null,
        isChosen ? placeOf(button, { planes, findings }) : null,
      );
    });
  }
}
