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

// From shares of the way through the planes, as in viewer-places.js, to NiiVue's place and back.
// NiiVue counts to the patient's right, front and head.
const toNiivue = ({ sagittal, coronal, axial }) => [1 - sagittal, 1 - coronal, axial];
const fromNiivue = ([right, front, head]) => ({
  sagittal: 1 - right,
  coronal: 1 - front,
  axial: head,
});

async function openThreeD({ place, stage, library, url, series, onPlace }) {
  const [{ Niivue, SLICE_TYPE, MULTIPLANAR_TYPE, NVImage }, response] = await Promise.all([
    import(library),
    fetchPixels(`${url}?${new URLSearchParams({ series })}`),
  ]);
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Three planes and 3D, patient's right on the left");
  place.replaceChildren(canvas);
  const scene = new Niivue({
    // The whole viewer looks from the feet and the front, and sagittal with the face at the left.
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
    multiplanarLayout: MULTIPLANAR_TYPE.GRID,
    // The letters of neighbours must stand apart.
    multiplanarPadPixels: 16,
    showAllOrientationMarkers: true,
    loadingText: "",
    dragAndDropEnabled: false,
    logLevel: "error",
  });
  // NiiVue writes S and I for superior and inferior; the rest of the viewer, as DICOM, H and F.
  for (const [draw, from, to] of [
    ["drawTextBelow", "S", "H"],
    ["drawTextAbove", "I", "F"],
  ]) {
    const original = scene[draw].bind(scene);
    scene[draw] = (at, text, ...rest) => original(at, text === from ? to : text, ...rest);
  }
  await scene.attachToCanvas(canvas);
  // The keys are those of the viewer: its stage has the focus instead.
  canvas.removeAttribute("tabindex");
  canvas.addEventListener("pointerdown", () =>
    stage.focus({ preventScroll: true, focusVisible: false }),
  );
  const volume = await NVImage.loadFromUrl({
    url: await response.arrayBuffer(),
    name: "volume.nii",
    colormap: "gray",
    trustCalMinMax: false,
  });
  scene.addVolume(volume);
  scene.setSliceType(SLICE_TYPE.MULTIPLANAR);
  let isFromHere = false;
  scene.onLocationChange = ({ frac }) => {
    isFromHere = true;
    onPlace(fromNiivue([...frac]));
    isFromHere = false;
  };
  canvas.dataset.loaded = "true";
  return {
    setWindow({ center, width }) {
      volume.cal_min = center - width / 2;
      volume.cal_max = center + width / 2;
      scene.updateGLVolume();
    },
    setPlace(shares) {
      if (!isFromHere) {
        scene.scene.crosshairPos = toNiivue(shares);
        scene.drawScene();
      }
    },
    close() {
      scene.cleanup();
      canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
      place.replaceChildren();
    },
  };
}

// `onOpen` gets the opened view, or null when it is closed; `onPlace` the place of a click.
export function startThreeD({ root, stage, url, series, onOpen, onPlace, onProblem }) {
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
    for (const group of root.querySelectorAll("[data-slices-only]")) {
      group.inert = isOpen;
    }
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
      const opened = await openThreeD({ place, stage, library, url, series, onPlace });
      if (!isPressed(button)) {
        opened.close();
        return;
      }
      threeD = opened;
      onOpen(threeD);
    } catch {
      show(false);
      onProblem("The 3D view could not be opened. The slices still work.");
    }
  });
}
