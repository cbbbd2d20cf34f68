// The image viewer of a study: slices in three planes with linked cross-hairs, grey scale windows,
// stone map, boxes and scores. The server cuts the slices and checks who may see them; here they
// are only drawn, so that neither WebGL nor a quick computer is needed.

import { startFindings } from "./viewer-findings.js";
import { createGreyTable } from "./viewer-grey.js";
import { listenToKeys } from "./viewer-keys.js";
import { createPane } from "./viewer-pane.js";
import {
  boxesOn,
  clamp,
  downOf,
  inPlane,
  middleOf,
  sharesOf,
  toVoxel,
  voxelAt,
} from "./viewer-places.js";
import { listenTo } from "./viewer-pointer.js";
import { createMaps, createSlices, SessionEnded } from "./viewer-slices.js";
import { createStrip } from "./viewer-strip.js";
import { isPressed, press, startTools } from "./viewer-tools.js";

const PAN_STEP = 60;
const PAGE = 10;
const WHOLE_GREY = { center: 127.5, width: 255 };

// `before` is what the reader had set in the viewer that this one replaces, or undefined.
function startViewer(root, config, before) {
  const { planes, isHu } = config;
  const find = (selector) => root.querySelector(selector);
  const findAll = (selector) => [...root.querySelectorAll(selector)];
  const stage = find("[data-stage]");
  const problem = find("[data-problem]");
  const grey = createGreyTable(isHu);
  const isStack = planes[0].size[0] > 1;
  const hasPlanes = planes.length > 1;

  let cursor = before?.cursor ?? toVoxel(planes[0], middleOf(planes[0]));
  let main = before?.main ?? 0;
  let direction = 1;
  let greyVersion = 0;
  let grade = before?.grade ?? (isHu ? { center: 40, width: 400 } : { ...WHOLE_GREY });
  let tool = before?.tool ?? find("[data-tool]").dataset.tool;
  let isCrossShown = before?.isCrossShown ?? hasPlanes;
  let chosen = null;
  let threeD = null;

  const isShown = (name) => isPressed(find(`[data-toggle="${name}"]`));
  const indexOf = (plane) => inPlane(plane, cursor).slice;
  const mainPlane = () => planes[main];
  const mainPane = () => panes[main];

  const slices = createSlices({
    url: config.urls.slice,
    series: config.series,
    isHu,
    planes,
    onArrival: (plane, index) => {
      if (indexOf(planes[plane]) === index) {
        problem.hidden = true;
        panes[plane].draw();
      }
    },
    onProblem: (error, plane, index) => {
      if (error instanceof SessionEnded) {
        problem.textContent = "Your session has ended. Reload the page to sign in again.";
        problem.hidden = false;
      } else if (indexOf(planes[plane]) === index) {
        problem.textContent =
          "This slice could not be loaded. Reload the page; if it stays away, the stored image is missing: please upload it again.";
        problem.hidden = false;
      }
    },
  });
  const maps = createMaps({
    url: config.urls.map,
    series: config.series,
    planes,
    onArrival: (plane, index) => indexOf(planes[plane]) === index && panes[plane].draw(),
  });
  const opacity = find("[data-opacity]");

  const view = {
    grey,
    indexOf,
    greyVersion: () => greyVersion,
    pixels: (plane, index) => slices.get(planes.indexOf(plane), index),
    map: (plane, index) => (isShown("map") ? maps.get(planes.indexOf(plane), index) : null),
    mapOpacity: () => opacity.value / 100,
    crossAt(plane) {
      if (!isCrossShown) {
        return null;
      }
      const across = (i) => planes.find((other) => other.axes[0][0] === plane.axes[i][0]).name;
      const { row, column } = inPlane(plane, cursor);
      return { row, column, acrossRows: across(1), acrossColumns: across(2) };
    },
    boxes: (plane, index) =>
      isShown("boxes") ? boxesOn(plane, index, config.findings, chosen) : [],
    onDrawn(plane, index) {
      if (plane !== mainPlane()) {
        return;
      }
      strip?.show(plane, index);
      if (root.dataset.state !== "ready") {
        root.dataset.state = "ready";
        performance.mark("viewer-first-image");
      }
    },
  };

  const panes = findAll("[data-pane]").map((element, i) =>
    createPane({ element, plane: planes[i], view }),
  );
  const stripElement = find("[data-strip]");
  const strip =
    stripElement &&
    createStrip({
      element: stripElement,
      scores: config.scores,
      threshold: config.threshold,
      onChoose: (index) => goTo(mainPane(), index),
    });

  const drawAll = () => panes.forEach((pane) => pane.draw());

  const update = () => {
    const order = [main, ...planes.keys()].filter((plane, i, all) => all.indexOf(plane) === i);
    slices.want(
      order.map((plane) => [plane, indexOf(planes[plane])]),
      direction,
    );
    threeD?.setPlace(sharesOf(planes, cursor));
    drawAll();
  };

  const moveTo = (voxel) => {
    if (voxel.some((value, axis) => value !== cursor[axis])) {
      cursor = voxel;
      update();
    }
  };

  const goTo = (pane, slice) => {
    const { plane } = pane;
    const index = clamp(slice, plane.size[0] - 1);
    direction = index < indexOf(plane) ? -1 : 1;
    moveTo(toVoxel(plane, { ...inPlane(plane, cursor), slice: index }));
  };

  const scroll = (pane, steps) => goTo(pane, indexOf(pane.plane) + steps * downOf(pane.plane));

  const showZoom = () => {
    find("[data-zoom-level]").textContent = `${Math.round(mainPane().zoom * 100)} %`;
    stage.classList.toggle("is-zoomed", mainPane().zoom > 1);
  };

  const setMain = (index) => {
    main = index;
    panes.forEach((pane, i) => pane.element.classList.toggle("is-main", i === main));
    showZoom();
    update();
  };

  const setWindow = (next) => {
    grade = { ...grade, ...next };
    grey.fill({ ...grade, isInverted: isPressed(find("[data-invert]")) });
    greyVersion += 1;
    for (const button of findAll("[data-window]")) {
      press(button, button.dataset.window === `${grade.center} ${grade.width}`);
    }
    for (const readout of findAll("[data-window-readout]")) {
      readout.textContent = `L ${Math.round(grade.center)} W ${Math.round(grade.width)}`;
    }
    threeD?.setWindow(grade);
    drawAll();
  };

  const readout = find("[data-readout]");
  const restWords = readout.textContent;
  const pointAt = (pane, place) => {
    const [, rows, columns] = pane.plane.size;
    const [column, row] = (place ?? [-1, -1]).map(Math.floor);
    const pixels = slices.get(planes.indexOf(pane.plane), pane.drawn);
    if (!pixels || row < 0 || column < 0 || row >= rows || column >= columns) {
      readout.textContent = restWords;
      return;
    }
    const value = pixels[row * columns + column];
    const at = isStack ? `, slice ${pane.drawn + 1}` : "";
    readout.textContent = `${isHu ? `${value} HU` : `grey ${value}`} at x ${column}, y ${row}${at}`;
  };

  const shared = {
    isStack: (pane) => pane.plane.size[0] > 1,
    tool: () => tool,
    window: () => grade,
    setWindow,
    scroll,
    pointAt,
    cross: (pane, [column, row]) =>
      hasPlanes && moveTo(toVoxel(pane.plane, { slice: indexOf(pane.plane), row, column })),
    onZoom: (pane) => pane === mainPane() && showZoom(),
    onMeasured: (mm) => {
      readout.textContent = `${mm.toFixed(1)} mm in this slice`;
    },
    enlarge: (pane) => hasPlanes && setMain(panes.indexOf(pane)),
  };
  panes.forEach((pane) => listenTo(pane, { stage, viewer: shared }));

  stage.dataset.tool = tool;
  const setTool = (next) => {
    if (next === "cross") {
      isCrossShown = tool !== "cross" || !isCrossShown;
    }
    tool = next;
    stage.dataset.tool = tool;
    drawAll();
  };
  const fit = () => panes.forEach((pane) => pane.fit());
  const turn = () => setMain((main + 1) % planes.length);
  startTools(root, {
    planes,
    stage,
    mainPane,
    setMain,
    setWindow,
    setTool,
    showZoom,
    drawAll,
    fit,
    turn,
  });

  // The 3D view comes after the first slices: asking for WebGL takes its time.
  import("./viewer-3d.js").then(({ startThreeD }) =>
    startThreeD({
      root,
      stage,
      url: config.urls.volume,
      series: config.series,
      onOpen: (opened) => {
        threeD = opened;
        setWindow({});
        threeD?.setPlace(sharesOf(planes, cursor));
      },
      onPlace: (shares) => moveTo(voxelAt(planes, shares)),
      onProblem: (sentence) => {
        problem.textContent = sentence;
        problem.hidden = false;
      },
    }),
  );

  startFindings({
    stage,
    planes,
    findings: config.findings,
    choose(rank, place) {
      chosen = rank;
      if (!place) {
        fit();
        showZoom();
        return;
      }
      setMain(place.index);
      moveTo(place.voxel);
      const { row, column } = inPlane(mainPlane(), place.voxel);
      mainPane().fit();
      mainPane().zoomTo(hasPlanes ? 2 : 3);
      mainPane().centreOn(column + 0.5, row + 0.5);
      showZoom();
      stage.scrollIntoView({ block: "nearest" });
    },
  });

  // Keys that no button has.
  const steps = {
    ArrowUp: -1,
    ArrowLeft: -1,
    ArrowDown: 1,
    ArrowRight: 1,
    PageUp: -PAGE,
    PageDown: PAGE,
  };
  const moves = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [1, 0], ArrowRight: [-1, 0] };
  const onPlainKey = (event) => {
    // The slider of the opacity has arrow keys of its own.
    if (event.target.closest("input")) {
      return false;
    }
    const move = moves[event.key];
    if (move && (event.shiftKey || (!isStack && mainPane().zoom > 1))) {
      mainPane().move(move[0] * PAN_STEP, move[1] * PAN_STEP);
      return true;
    }
    if (!isStack) {
      return false;
    }
    const last = mainPlane().size[0] - 1;
    const ends = downOf(mainPlane()) < 0 ? { Home: last, End: 0 } : { Home: 0, End: last };
    if (event.key in steps) {
      scroll(mainPane(), steps[event.key]);
    } else if (event.key in ends) {
      goTo(mainPane(), ends[event.key]);
    } else {
      return false;
    }
    return true;
  };
  listenToKeys(root, { stage, onPlainKey });

  new ResizeObserver(drawAll).observe(stage);
  if (before) {
    press(find("[data-invert]"), before.isInverted);
    findAll("[data-tool]").forEach((button) => press(button, button.dataset.tool === tool));
    panes.forEach((pane, i) => pane.setView(before.views[i]));
  }
  setWindow({});
  setMain(main);

  return {
    series: config.series,
    settings: () => ({
      cursor,
      main,
      grade,
      tool,
      isCrossShown,
      isInverted: isPressed(find("[data-invert]")),
      views: panes.map((pane) => pane.view),
    }),
    forget() {
      slices.clear();
      maps.clear();
      panes.forEach((pane) => pane.forget());
    },
  };
}

// The viewers of this page. A study that has just been read arrives as a partial: its viewer has
// scores and findings now, and goes on where the reader was.
const viewers = new Map();
let focused = null;

function start() {
  for (const root of document.querySelectorAll("[data-viewer]:not([data-started])")) {
    const config = JSON.parse(root.dataset.config);
    const [old, before] =
      [...viewers].find(([other, { series }]) => series === config.series && !other.isConnected) ??
      [];
    root.dataset.started = "";
    viewers.set(root, startViewer(root, config, before?.settings()));
    before?.forget();
    viewers.delete(old);
  }
}

// Some browsers cannot move an element in one go. What htmx preserves then loses the focus, and with
// it the keys; and no dialog stays modal.
function keepFocus() {
  if (!focused || document.activeElement !== document.body) {
    return;
  }
  const there = focused.isConnected ? focused : document.querySelector("[data-stage]");
  there?.closest("[data-viewer]").querySelector("[data-keys][open]:not(:modal)")?.close();
  there?.focus({ preventScroll: true, focusVisible: false });
  focused = null;
}

document.addEventListener("htmx:beforeSwap", () => {
  focused = document.activeElement?.closest("[data-viewer]") ? document.activeElement : null;
});
document.addEventListener("htmx:load", () => {
  start();
  keepFocus();
});
// A page that is left, or put aside to come back, keeps no pixels.
addEventListener("pagehide", () => viewers.forEach((viewer) => viewer.forget()));
// A page that comes back has no pixels any more, and perhaps nobody is signed in.
addEventListener("pageshow", (event) => {
  if (event.persisted) {
    location.reload();
  }
});
start();
