// Mouse, pen and fingers on one picture of the viewer.

const ZOOM_STEP = 1.25;
// A notch of a wheel is one slice; a touch pad sends many small steps instead.
const WHEEL_STEP = 60;
const FINGER_STEP = 12;

export function listenTo(pane, { stage, viewer }) {
  const { canvas } = pane;
  const fingers = new Map();
  let wheel = 0;
  let drag = null;
  let pinch = null;

  const placeOf = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };

  canvas.addEventListener(
    "wheel",
    (event) => {
      const isZoom = event.ctrlKey || !viewer.isStack(pane);
      // A picture has nothing to scroll: the wheel then scrolls the page until the image was
      // clicked or Ctrl is held.
      if (isZoom && !event.ctrlKey && document.activeElement !== stage) {
        return;
      }
      event.preventDefault();
      if (document.activeElement === document.body) {
        stage.focus({ preventScroll: true, focusVisible: false });
      }
      const amount = event.deltaY * (event.deltaMode === 1 ? 33 : 1);
      if (isZoom) {
        pane.zoomTo(pane.zoom * (amount < 0 ? ZOOM_STEP : 1 / ZOOM_STEP), ...placeOf(event));
        viewer.onZoom(pane);
        return;
      }
      wheel = Math.abs(amount) >= WHEEL_STEP ? Math.sign(amount) * WHEEL_STEP : wheel + amount;
      if (Math.abs(wheel) >= WHEEL_STEP) {
        viewer.scroll(pane, Math.sign(wheel));
        wheel = 0;
      }
    },
    { passive: false },
  );

  const toolOf = (event) => {
    if (event.button === 2) {
      return "window";
    }
    if (event.button === 1 || event.shiftKey) {
      return "move";
    }
    const tool = viewer.tool();
    return event.pointerType === "touch" && tool === "cross" ? "scroll" : tool;
  };

  const startPinch = () => {
    const [a, b] = [...fingers.values()];
    pinch = {
      distance: Math.hypot(a[0] - b[0], a[1] - b[1]),
      middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2],
      zoom: pane.zoom,
    };
    drag = null;
  };

  const goOnPinching = () => {
    const [a, b] = [...fingers.values()];
    const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const distance = Math.hypot(a[0] - b[0], a[1] - b[1]);
    pane.zoomTo((pinch.zoom * distance) / pinch.distance, ...middle);
    pane.move(middle[0] - pinch.middle[0], middle[1] - pinch.middle[1]);
    pinch.middle = middle;
    viewer.onZoom(pane);
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const at = placeOf(event);
    if (event.pointerType === "touch") {
      fingers.set(event.pointerId, at);
      if (fingers.size === 2) {
        startPinch();
        return;
      }
    }
    if (event.button === 1) {
      event.preventDefault();
    }
    stage.focus({ preventScroll: true, focusVisible: false });
    drag = { tool: toolOf(event), start: at, last: at, rest: 0, window: viewer.window() };
    drag.from = pane.toImage(...at);
    if (drag.tool === "cross") {
      viewer.cross(pane, drag.from);
    }
  });

  canvas.addEventListener("pointermove", (event) => {
    const at = placeOf(event);
    viewer.pointAt(pane, pane.toImage(...at));
    if (fingers.has(event.pointerId)) {
      fingers.set(event.pointerId, at);
    }
    if (pinch && fingers.size === 2) {
      goOnPinching();
      return;
    }
    if (!drag || !canvas.hasPointerCapture(event.pointerId)) {
      return;
    }
    const [x, y] = [at[0] - drag.last[0], at[1] - drag.last[1]];
    drag.last = at;
    switch (drag.tool) {
      case "cross":
        viewer.cross(pane, pane.toImage(...at));
        break;
      case "move":
        pane.move(x, y);
        break;
      case "window": {
        // To the right is wider, upwards is brighter; faster in a wide window than in a narrow one.
        const { center, width } = drag.window;
        const speed = Math.max(0.5, width / 300);
        viewer.setWindow({
          center: Math.round(center + (at[1] - drag.start[1]) * speed),
          width: Math.max(1, Math.round(width + (at[0] - drag.start[0]) * speed)),
        });
        break;
      }
      case "measure":
        viewer.onMeasured(pane.measure(drag.from, pane.toImage(...at)));
        break;
      case "scroll": {
        drag.rest += y;
        const steps = Math.trunc(drag.rest / FINGER_STEP);
        if (steps) {
          drag.rest -= steps * FINGER_STEP;
          viewer.scroll(pane, steps);
        }
        break;
      }
    }
  });

  const end = (event) => {
    fingers.delete(event.pointerId);
    if (fingers.size < 2) {
      pinch = null;
    }
    const isTap =
      drag && Math.hypot(drag.last[0] - drag.start[0], drag.last[1] - drag.start[1]) < 6;
    if (
      event.type === "pointerup" &&
      isTap &&
      drag.tool === "scroll" &&
      viewer.tool() === "cross"
    ) {
      viewer.cross(pane, drag.from);
    }
    drag = null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => viewer.pointAt(pane, null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => viewer.enlarge(pane));
}
