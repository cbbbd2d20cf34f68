// Three planes and a rendering of the whole volume, where the browser has WebGL 2. The library and
// the volume are loaded only when somebody asks for this view.

import { fetchPixels } from "./viewer-slices.js";
import { isPressed, press } from "./viewer-tools.js";

function hasWebGL2() {
  try {
    return Boolean(document.createElement("canvas").getContext("webgl2"));
  } catch {
    return false;
  }
}

async function openThreeD({ place, library, url, series, window: { center, width } }) {
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

// `window()` is the one that is set when the view opens; `onOpen` gets what was opened, or null.
export function startThreeD({ root, stage, url, series, window, onOpen, onProblem }) {
  const button = root.querySelector("[data-three-d]");
  if (!button) {
    return;
  }
  const place = root.querySelector("[data-3d]");
  const isThere = hasWebGL2();
  let threeD = null;
  button.hidden = !isThere;
  root.querySelector("[data-no-3d]").hidden = isThere;

  const show = (isOpen) => {
    press(button, isOpen);
    place.hidden = !isOpen;
    stage.classList.toggle("is-3d", isOpen);
  };
  button.addEventListener("click", async () => {
    if (isPressed(button)) {
      threeD?.close();
      threeD = null;
      show(false);
      onOpen(null);
      return;
    }
    show(true);
    place.textContent = "Loading the volume …";
    try {
      const library = button.dataset.niivue;
      threeD = await openThreeD({ place, library, url, series, window: window() });
      onOpen(threeD);
    } catch {
      show(false);
      onProblem("The 3D view could not be opened. The slices still work.");
    }
  });
}
