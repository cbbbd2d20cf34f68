// Three planes and a rendering of the whole volume, where the browser has WebGL 2. The library and
// the volume are loaded only when somebody asks for this view.

import { fetchPixels } from "./viewer-slices.js";

export function hasWebGL2() {
  try {
    return Boolean(document.createElement("canvas").getContext("webgl2"));
  } catch {
    return false;
  }
}

export async function openThreeD({ place, library, url, series, window: { center, width } }) {
  const [{ Niivue, SLICE_TYPE, NVImage }, response] = await Promise.all([
    import(library),
    fetchPixels(`${url}?${new URLSearchParams({ series })}`),
  ]);
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Three planes and 3D, patient's right on the left");
  place.replaceChildren(canvas);
  const scene = new Niivue({
    // As in the rest of the viewer: from the feet and the front, sagittal with the face at the left.
    isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    isOrientCube: true,
    isRuler: false,
    backColor: [0, 0, 0, 1],
    crosshairColor: [0.44, 0.88, 0.95, 0.8],
    crosshairWidth: 0.5,
    fontColor: [1, 1, 1, 1],
    fontMinPx: 18,
    show3Dcrosshair: true,
    multiplanarShowRender: 1,
    loadingText: "",
    dragAndDropEnabled: false,
    logLevel: "error",
  });
  await scene.attachToCanvas(canvas);
  const volume = await NVImage.loadFromUrl({
    url: await response.arrayBuffer(),
    name: "volume.nii",
    colormap: "gray",
    cal_min: center - width / 2,
    cal_max: center + width / 2,
    trustCalMinMax: false,
  });
  scene.addVolume(volume);
  scene.setSliceType(SLICE_TYPE.MULTIPLANAR);
  canvas.dataset.loaded = "true";
  return {
    setWindow(next) {
      volume.cal_min = next.center - next.width / 2;
      volume.cal_max = next.center + next.width / 2;
      scene.updateGLVolume();
    },
    close() {
      canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
      place.replaceChildren();
    },
  };
}
