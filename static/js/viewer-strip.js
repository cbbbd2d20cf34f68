// The strip under the image: a slider through the slices that also shows the score of each.

const ENDS = { axial: ["F", "H"], coronal: ["A", "P"], sagittal: ["R", "L"] };
const percent = (value) => `${Math.round(value * 100)} %`;

export function createStrip({ element, scores, threshold, onChoose }) {
  const track = element.querySelector("[data-strip-track]");
  const canvas = element.querySelector("[data-strip-canvas]");
  const context = canvas.getContext("2d");
  let plane = null;
  let slices = 1;
  let shown = 0;
  let values = null;

  const scoreAt = (index) => values?.[index] ?? null;

  const drawScores = (width, height) => {
    const columns = Math.max(1, Math.min(slices, Math.floor(width / 2)));
    const step = width / columns;
    for (let column = 0; column < columns; column += 1) {
      const first = Math.floor((column * slices) / columns);
      const last = Math.max(first + 1, Math.floor(((column + 1) * slices) / columns));
      let highest = null;
      for (let index = first; index < last; index += 1) {
        const value = scoreAt(index);
        highest = value === null ? highest : Math.max(highest ?? 0, value);
      }
      if (highest === null) {
        continue;
      }
      const isAbove = threshold !== null && highest >= threshold;
      context.fillStyle = isAbove ? "#ff9a92" : "#5c8a99";
      const tall = Math.max(1, highest * height);
      context.fillRect(column * step, height - tall, Math.max(1, step - (step > 3 ? 1 : 0)), tall);
    }
    if (threshold !== null) {
      const y = Math.round(height - threshold * height) + 0.5;
      context.strokeStyle = "#ffe08a";
      context.setLineDash([4, 3]);
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(width, y);
      context.stroke();
      context.setLineDash([]);
    }
  };

  const draw = () => {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (values) {
      drawScores(width, height);
    }
    const x = ((shown + 0.5) / slices) * width;
    context.fillStyle = "#fff";
    context.fillRect(x - 1, 0, 2, height);
    context.beginPath();
    context.moveTo(x - 5, 0);
    context.lineTo(x + 5, 0);
    context.lineTo(x, 6);
    context.fill();
  };

  const choose = (event) => {
    const { left, width } = canvas.getBoundingClientRect();
    const index = Math.floor(((event.clientX - left) / width) * slices);
    onChoose(Math.min(slices - 1, Math.max(0, index)));
  };
  track.addEventListener("pointerdown", (event) => {
    track.setPointerCapture(event.pointerId);
    choose(event);
  });
  track.addEventListener("pointermove", (event) => {
    if (track.hasPointerCapture(event.pointerId)) {
      choose(event);
    }
  });
  track.addEventListener("keydown", (event) => {
    const steps = {
      ArrowRight: 1,
      ArrowUp: 1,
      ArrowLeft: -1,
      ArrowDown: -1,
      PageUp: 10,
      PageDown: -10,
    };
    const ends = { Home: 0, End: slices - 1 };
    const index = ends[event.key] ?? shown + (steps[event.key] ?? NaN);
    if (!Number.isNaN(index) && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      event.stopPropagation();
      onChoose(Math.min(slices - 1, Math.max(0, index)));
    }
  });
  new ResizeObserver(draw).observe(canvas);

  return {
    show(nowPlane, index) {
      if (plane !== nowPlane) {
        plane = nowPlane;
        slices = plane.size[0];
        values = scores[plane.name] ?? null;
        element.classList.toggle("has-scores", values !== null);
        const [first, last] = plane.letters ? ENDS[plane.name] : ["", ""];
        element.querySelector("[data-strip-start]").textContent = first;
        element.querySelector("[data-strip-end]").textContent = last;
        track.setAttribute("aria-valuemax", String(slices));
      }
      shown = index;
      const score = scoreAt(index);
      const words = score === null ? "" : `, score ${percent(score)}`;
      track.setAttribute("aria-valuenow", String(index + 1));
      track.setAttribute("aria-valuetext", `Slice ${index + 1} of ${slices}${words}`);
      draw();
    },
  };
}
