// Places: a voxel of the stored array, [slice, row, column], and its slice, row and column in a
// shown plane, which may run along other axes and against them.

export const clamp = (value, most) => Math.min(most, Math.max(0, value));

export function middleOf(plane) {
  const [slice, row, column] = plane.size.map((size) => size / 2);
  return { slice, row, column };
}

export function inPlane(plane, voxel) {
  const [slice, row, column] = plane.axes.map(([axis, isFlipped], i) =>
    isFlipped ? plane.size[i] - 1 - voxel[axis] : voxel[axis],
  );
  return { slice, row, column };
}

export function toVoxel(plane, { slice, row, column }) {
  const voxel = [0, 0, 0];
  [slice, row, column].forEach((value, i) => {
    const [axis, isFlipped] = plane.axes[i];
    const at = clamp(Math.floor(value), plane.size[i] - 1);
    voxel[axis] = isFlipped ? plane.size[i] - 1 - at : at;
  });
  return voxel;
}

export function edgesInPlane(plane, edges) {
  return plane.axes.map(([axis, isFlipped], i) =>
    isFlipped ? edges[axis].map((edge) => plane.size[i] - edge).reverse() : edges[axis],
  );
}

// A voxel as a share, 0 to 1, of the way through each plane, by its name; and back.
export function sharesOf(planes, voxel) {
  return Object.fromEntries(
    planes.map((plane) => [plane.name, (inPlane(plane, voxel).slice + 0.5) / plane.size[0]]),
  );
}

export function voxelAt(planes, shares) {
  const voxel = [0, 0, 0];
  for (const plane of planes) {
    const [axis, isFlipped] = plane.axes[0];
    const last = plane.size[0] - 1;
    const at = clamp(Math.floor(shares[plane.name] * plane.size[0]), last);
    voxel[axis] = isFlipped ? last - at : at;
  }
  return voxel;
}

// Downwards is towards the feet in axial slices, as on films, and else away from the first slice.
export const downOf = (plane) => (plane.name === "axial" && plane.letters ? -1 : 1);

// The boxes of the findings that lie on a cut, in its pixels.
export function boxesOn(plane, index, findings, chosen) {
  return findings
    .map((finding, i) => {
      const [across, rows, columns] = edgesInPlane(plane, finding.edges);
      return {
        box: [columns[0], rows[0], columns[1], rows[1]],
        isHere: Math.floor(across[0]) <= index && index < across[1],
        number: String(i + 1),
        isFaint: finding.isFaint,
        isChosen: finding.rank === chosen,
      };
    })
    .filter(({ isHere }) => isHere);
}
