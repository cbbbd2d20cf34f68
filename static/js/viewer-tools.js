// The buttons of the viewer: windows, what dragging does, what is drawn over the image, zoom, planes.

const ZOOM_STEP = 1.25;

export function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

export const isPressed = (button) => button?.getAttribute("aria-pressed") === "true";

// The browser keeps what a reader likes: boxes, opacity and layout, nothing of a patient.
function remembered(name) {
  try {
    return localStorage.getItem(`viewer.${name}`);
  } catch {
    return null;
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(`viewer.${name}`, value);
  } catch {
    // Storage may be forbidden; the choice then lasts until the page is left.
  }
}

export function startTools(root, viewer) {
  const find = (selector) => root.querySelector(selector);
  const findAll = (selector) => [...root.querySelectorAll(selector)];
  startWindows({ find, findAll, viewer });
  startDragging({ findAll, viewer });
  startOverlays({ find, findAll, viewer });
  startZoom({ findAll, viewer });
  startPlanes({ find, findAll, viewer });
}

function startWindows({ find, findAll, viewer }) {
  for (const button of findAll("[data-window]")) {
    button.addEventListener("click", () => {
      const [center, width] = button.dataset.window.split(" ").map(Number);
      viewer.setWindow({ center, width });
    });
  }
  find("[data-invert]").addEventListener("click", (event) => {
    press(event.currentTarget, !isPressed(event.currentTarget));
    viewer.setWindow({});
  });
}

function startDragging({ findAll, viewer }) {
  const buttons = findAll("[data-tool]");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      viewer.setTool(button.dataset.tool);
      buttons.forEach((other) => press(other, other === button));
    });
  }
}

function startOverlays({ find, findAll, viewer }) {
  for (const button of findAll("[data-toggle]")) {
    if (button.dataset.toggle === "boxes") {
      press(button, remembered("boxes") !== "off");
    }
    button.addEventListener("click", () => {
      press(button, !isPressed(button));
      if (button.dataset.toggle === "boxes") {
        remember("boxes", isPressed(button) ? "on" : "off");
      }
      viewer.drawAll();
    });
  }
  const opacity = find("[data-opacity]");
  if (opacity) {
    opacity.value = remembered("opacity") ?? opacity.value;
    opacity.addEventListener("input", () => {
      remember("opacity", opacity.value);
      viewer.drawAll();
    });
  }
}

function startZoom({ findAll, viewer }) {
  const actions = {
    in: () => viewer.mainPane().zoomTo(viewer.mainPane().zoom * ZOOM_STEP),
    out: () => viewer.mainPane().zoomTo(viewer.mainPane().zoom / ZOOM_STEP),
    fit: () => viewer.fit(),
  };
  for (const button of findAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      actions[button.dataset.zoom]();
      viewer.showZoom();
    });
  }
}

function startPlanes({ find, findAll, viewer }) {
  const { planes, stage } = viewer;
  const layout = find("[data-layout]");
  const setLayout = (isThree) => {
    press(layout, isThree);
    stage.classList.toggle("is-three", isThree);
    viewer.drawAll();
  };
  layout?.addEventListener("click", () => {
    setLayout(!isPressed(layout));
    remember("layout", isPressed(layout) ? "three" : "one");
  });
  if (layout) {
    setLayout(remembered("layout") === "three");
  }
  find("[data-turn]")?.addEventListener("click", () => viewer.turn());
  for (const button of findAll("[data-enlarge]")) {
    button.addEventListener("click", () =>
      viewer.setMain(planes.findIndex((plane) => plane.name === button.dataset.enlarge)),
    );
  }
}
