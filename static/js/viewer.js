// The image viewer of a study: windows, stone map, boxes, zoom. It also works without this
// script, with the map over the image as the server renders both.

const LARGEST_ZOOM = 12;
const ZOOM_STEP = 1.25;

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
    // Then it lasts until the page is left.
  }
}

function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

const isPressed = (button) => button.getAttribute("aria-pressed") === "true";

function startLayers(viewer) {
  for (const button of viewer.querySelectorAll("[data-toggle]")) {
    const layer = viewer.querySelector(`[data-${button.dataset.toggle}]`);
    const apply = (shown) => {
      press(button, shown);
      layer.classList.toggle("is-hidden", !shown);
    };
    apply(remembered(button.dataset.toggle) !== "off");
    button.addEventListener("click", () => {
      const shown = !isPressed(button);
      apply(shown);
      remember(button.dataset.toggle, shown ? "on" : "off");
    });
  }
  const slider = viewer.querySelector("[data-opacity]");
  if (slider) {
    const map = viewer.querySelector("[data-map]");
    const apply = () => {
      map.style.opacity = slider.value / 100;
    };
    slider.value = remembered("opacity") ?? slider.value;
    apply();
    slider.addEventListener("input", () => {
      apply();
      remember("opacity", slider.value);
    });
  }
}

function startWindows(viewer) {
  const image = viewer.querySelector("[data-image]");
  const buttons = [...viewer.querySelectorAll("[data-window]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      image.src = button.dataset.src;
      for (const other of buttons) {
        press(other, other === button);
      }
    });
  }
  const invert = viewer.querySelector("[data-invert]");
  invert.addEventListener("click", () => {
    press(invert, !isPressed(invert));
    image.classList.toggle("is-inverted", isPressed(invert));
  });
  const problem = viewer.querySelector("[data-problem]");
  const layers = viewer.querySelector("[data-canvas]");
  const check = (failed) => {
    problem.hidden = !failed;
    layers.hidden = failed;
  };
  image.addEventListener("error", () => check(true));
  image.addEventListener("load", () => check(false));
  if (image.complete && image.naturalWidth === 0) {
    check(true);
  }
}

function startZoom(viewer) {
  const stage = viewer.querySelector("[data-stage]");
  const canvas = viewer.querySelector("[data-canvas]");
  const level = viewer.querySelector("[data-zoom-level]");
  const columns = Number(canvas.dataset.columns);
  const rows = Number(canvas.dataset.rows);
  let zoom = 1;

  const layout = () => {
    const fit = Math.min(stage.clientWidth / columns, stage.clientHeight / rows);
    const scale = fit * zoom;
    canvas.style.width = `${columns * scale}px`;
    canvas.style.height = `${rows * scale}px`;
    // Lines and numbers keep their size on the screen, whatever the zoom.
    canvas.style.setProperty("--pixel", `${1 / scale}px`);
    level.textContent = `${Math.round(zoom * 100)} %`;
    stage.classList.toggle("is-zoomed", zoom > 1);
  };

  // (x, y) of the stage stays where it is on the image.
  const zoomTo = (wanted, x = stage.clientWidth / 2, y = stage.clientHeight / 2) => {
    const before = canvas.getBoundingClientRect();
    const frame = stage.getBoundingClientRect();
    const alongX = (frame.left + x - before.left) / before.width;
    const alongY = (frame.top + y - before.top) / before.height;
    zoom = Math.min(LARGEST_ZOOM, Math.max(1, wanted));
    layout();
    const after = canvas.getBoundingClientRect();
    stage.scrollLeft += after.left + alongX * after.width - (frame.left + x);
    stage.scrollTop += after.top + alongY * after.height - (frame.top + y);
  };

  const actions = {
    in: () => zoomTo(zoom * ZOOM_STEP),
    out: () => zoomTo(zoom / ZOOM_STEP),
    fit: () => zoomTo(1),
  };
  for (const button of viewer.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", actions[button.dataset.zoom]);
  }
  stage.addEventListener(
    "wheel",
    (event) => {
      // The wheel scrolls the page until the image was clicked or Ctrl is held.
      if (!event.ctrlKey && document.activeElement !== stage) {
        return;
      }
      event.preventDefault();
      const frame = stage.getBoundingClientRect();
      const factor = event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP;
      zoomTo(zoom * factor, event.clientX - frame.left, event.clientY - frame.top);
    },
    { passive: false },
  );
  stage.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse" || event.button !== 0) {
      return;
    }
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) {
      stage.scrollLeft -= event.movementX;
      stage.scrollTop -= event.movementY;
    }
  });
  new ResizeObserver(layout).observe(stage);
  layout();
  return zoomTo;
}

function startFindings(viewer, zoomTo) {
  const stage = viewer.querySelector("[data-stage]");
  const boxes = viewer.querySelector("[data-boxes]");
  const buttons = [...document.querySelectorAll("[data-finding]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const chosen = !isPressed(button);
      for (const other of buttons) {
        const on = other === button && chosen;
        press(other, on);
        boxes
          ?.querySelector(`[data-box="${other.dataset.finding}"]`)
          ?.classList.toggle("is-chosen", on);
      }
      if (!chosen) {
        zoomTo(1);
        return;
      }
      const box = boxes?.querySelector(`[data-box="${button.dataset.finding}"] rect`);
      if (box) {
        zoomTo(3);
        const place = box.getBoundingClientRect();
        const frame = stage.getBoundingClientRect();
        stage.scrollLeft += place.left + place.width / 2 - frame.left - frame.width / 2;
        stage.scrollTop += place.top + place.height / 2 - frame.top - frame.height / 2;
        stage.scrollIntoView({ block: "nearest" });
      }
    });
  }
}

function start(root) {
  for (const viewer of root.querySelectorAll("[data-viewer]:not([data-started])")) {
    viewer.dataset.started = "";
    startLayers(viewer);
    startWindows(viewer);
    startFindings(viewer, startZoom(viewer));
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=range]), select, textarea")) {
    return;
  }
  const key = event.key === "=" ? "+" : event.key.toLowerCase();
  const target = [...document.querySelectorAll("[data-key]")].find(
    (element) => element.dataset.key === key,
  );
  if (target) {
    event.preventDefault();
    target.click();
  }
});
// A study that has just been read arrives as a partial.
document.addEventListener("htmx:load", () => start(document));
start(document);
