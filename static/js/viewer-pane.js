// One picture of the viewer: a cut of one plane on a canvas, and what is drawn over it.

const LARGEST_ZOOM = 12;
const BAR_LENGTHS_MM = [1, 2, 5, 10, 20, 50, 100, 200];
const COLOURS = { axial: "#ffc266", coronal: "#6fe0f2", sagittal: "#a5e887", unknown: "#6fe0f2" };

// `view` is what all panes share: pixels(index), map(index), crossAt(), boxes(index), grey, and
// the settings of the viewer.
export function createPane({ element, plane, view }) {
  const canvas = element.querySelector("[data-canvas]");
  const context = canvas.getContext("2d");
  const number = element.querySelector("[data-slice-number]");
  const bar = element.querySelector("[data-scale-bar]");
  const [slices, rows, columns] = plane.size;
  const [, rowMm, columnMm] = plane.mm ?? [1, 1, 1];
  const picture = document.createElement("canvas");
  picture.width = columns;
  picture.height = rows;
  const pictureContext = picture.getContext("2d");
  const image = pictureContext.createImageData(columns, rows);
  const words = new Uint32Array(image.data.buffer);
  let painted = null;
  let drawn = -1;
  let zoom = 1;
  let pan = [0, 0];
  let isAsked = false;
  let measured = null;

  for (const [edge, letter] of Object.entries(plane.letters ?? {})) {
    const place = element.querySelector(`[data-side="${edge}"]`);
    if (place) {
      place.textContent = letter;
    }
  }

  // Pixels of the screen for one millimetre, or for one pixel of the image without spacing.
  const scaleOf = () =>
    Math.min(canvas.clientWidth / (columns * columnMm), canvas.clientHeight / (rows * rowMm)) *
    zoom;

  const frame = () => {
    const scale = scaleOf();
    const width = columns * columnMm * scale;
    const height = rows * rowMm * scale;
    return {
      scale,
      width,
      height,
      left: (canvas.clientWidth - width) / 2 + pan[0],
      top: (canvas.clientHeight - height) / 2 + pan[1],
    };
  };

  const toScreen = (x, y, at = frame()) => [
    at.left + (x / columns) * at.width,
    at.top + (y / rows) * at.height,
  ];

  // The image moves no further than to its edge, so that it cannot be lost.
  const limitPan = () => {
    const { width, height } = frame();
    const spare = [width - canvas.clientWidth, height - canvas.clientHeight];
    pan = pan.map((value, axis) => {
      const most = Math.max(0, spare[axis] / 2);
      return Math.min(most, Math.max(-most, value));
    });
  };

  const line = (points, colour, width) => {
    context.beginPath();
    points.forEach(([x, y], i) => (i % 2 ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  };

  const drawCross = (at) => {
    const place = view.crossAt(plane);
    if (!place) {
      return;
    }
    const [x, y] = toScreen(place.column + 0.5, place.row + 0.5, at);
    const gap = 14;
    const [right, bottom] = [at.left + at.width, at.top + at.height];
    const vertical = COLOURS[place.acrossColumns];
    const horizontal = COLOURS[place.acrossRows];
    context.globalAlpha = 0.75;
    line(
      [
        [x, at.top],
        [x, y - gap],
        [x, y + gap],
        [x, bottom],
      ],
      vertical,
      1,
    );
    line(
      [
        [at.left, y],
        [x - gap, y],
        [x + gap, y],
        [right, y],
      ],
      horizontal,
      1,
    );
    context.globalAlpha = 1;
  };

  const drawBoxes = (at, index) => {
    context.font = "700 13px system-ui, sans-serif";
    for (const { box, number: label, isFaint, isChosen } of view.boxes(plane, index)) {
      const [x0, y0] = toScreen(box[0], box[1], at);
      const [x1, y1] = toScreen(box[2], box[3], at);
      // The frame leaves a little room, so that it does not cover what it shows.
      const [left, top, width, height] = [x0 - 3, y0 - 3, x1 - x0 + 6, y1 - y0 + 6];
      context.setLineDash([]);
      context.strokeStyle = "rgb(0 0 0 / 0.75)";
      context.lineWidth = 5;
      context.strokeRect(left, top, width, height);
      context.setLineDash(isFaint ? [5, 4] : []);
      context.strokeStyle = isChosen ? "#ffe08a" : isFaint ? "#9fb3c0" : "#6fe0f2";
      context.lineWidth = isChosen ? 3 : 2;
      context.strokeRect(left, top, width, height);
      context.setLineDash([]);
      context.lineWidth = 3;
      context.strokeStyle = "#000";
      context.strokeText(label, left + width + 4, top + 10);
      context.fillStyle = "#fff";
      context.fillText(label, left + width + 4, top + 10);
    }
  };

  const drawMeasured = (at) => {
    if (measured?.index !== drawn) {
      return;
    }
    const [from, to] = [measured.from, measured.to].map(([x, y]) => toScreen(x, y, at));
    line([from, to], "#000", 4);
    line([from, to], "#ffe08a", 2);
    const label = `${measured.mm.toFixed(1)} mm`;
    context.font = "600 14px system-ui, sans-serif";
    context.lineWidth = 4;
    context.strokeStyle = "#000";
    context.strokeText(label, to[0] + 8, to[1] + 4);
    context.fillStyle = "#ffe08a";
    context.fillText(label, to[0] + 8, to[1] + 4);
  };

  const showBar = (scale) => {
    if (!bar || !plane.mm) {
      return;
    }
    const most = Math.min(160, canvas.clientWidth * 0.35);
    const length = BAR_LENGTHS_MM.findLast((mm) => mm * scale <= most);
    bar.hidden = length === undefined;
    if (length !== undefined) {
      bar.querySelector("[data-scale-words]").textContent = `${length} mm`;
      bar.querySelector("[data-scale-line]").style.width = `${length * scale}px`;
      bar.dataset.mm = length;
    }
  };

  const draw = () => {
    isAsked = false;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) {
      return;
    }
    if (
      canvas.width !== Math.round(width * ratio) ||
      canvas.height !== Math.round(height * ratio)
    ) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      limitPan();
    }
    const index = view.indexOf(plane);
    const pixels = view.pixels(plane, index);
    // The number beside the picture is always that of the picture, also while the next one loads.
    if (pixels && (painted?.pixels !== pixels || painted.version !== view.greyVersion())) {
      view.grey.paint(pixels, words);
      pictureContext.putImageData(image, 0, 0);
      painted = { pixels, version: view.greyVersion() };
      drawn = index;
    }
    element.classList.toggle("is-waiting", !pixels);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    if (!painted) {
      return;
    }
    const at = frame();
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, at.left, at.top, at.width, at.height);
    const map = drawn === index ? view.map(plane, index) : null;
    if (map) {
      context.globalAlpha = view.mapOpacity();
      context.drawImage(map, at.left, at.top, at.width, at.height);
      context.globalAlpha = 1;
    }
    drawBoxes(at, drawn);
    drawCross(at);
    drawMeasured(at);
    showBar(at.scale);
    number.textContent = slices > 1 ? `${drawn + 1} / ${slices}` : "";
    element.dataset.slice = drawn;
    element.dataset.map = map ? "shown" : "hidden";
    view.onDrawn(plane, drawn);
  };

  const pane = {
    element,
    plane,
    canvas,

    // The pane is drawn once before the next frame, however often that was asked for.
    draw() {
      if (!isAsked) {
        isAsked = true;
        requestAnimationFrame(draw);
      }
    },

    get zoom() {
      return zoom;
    },

    get drawn() {
      return drawn;
    },

    // The zoom of the image, and how far it was moved.
    get view() {
      return { zoom, pan };
    },

    setView(next) {
      ({ zoom, pan } = next);
      limitPan();
      pane.draw();
    },

    // Turns a place on the canvas into one on the image, in pixels of the cut.
    toImage(x, y) {
      const at = frame();
      return [((x - at.left) / at.width) * columns, ((y - at.top) / at.height) * rows];
    },

    // (x, y) of the canvas stays where it is on the image.
    zoomTo(wanted, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
      const [column, row] = pane.toImage(x, y);
      zoom = Math.min(LARGEST_ZOOM, Math.max(1, wanted));
      const [nowX, nowY] = toScreen(column, row);
      pan = [pan[0] + x - nowX, pan[1] + y - nowY];
      limitPan();
      pane.draw();
    },

    centreOn(column, row) {
      const [x, y] = toScreen(column, row);
      pan = [pan[0] + canvas.clientWidth / 2 - x, pan[1] + canvas.clientHeight / 2 - y];
      limitPan();
      pane.draw();
    },

    move(x, y) {
      pan = [pan[0] + x, pan[1] + y];
      limitPan();
      pane.draw();
    },

    fit() {
      zoom = 1;
      pan = [0, 0];
      pane.draw();
    },

    measure(from, to) {
      const mm = Math.hypot((to[0] - from[0]) * columnMm, (to[1] - from[1]) * rowMm);
      measured = { from, to, mm, index: drawn };
      element.dataset.measured = mm.toFixed(1);
      pane.draw();
      return mm;
    },

    forget() {
      painted = null;
      context.clearRect(0, 0, canvas.width, canvas.height);
      pictureContext.clearRect(0, 0, columns, rows);
    },
  };
  return pane;
}
