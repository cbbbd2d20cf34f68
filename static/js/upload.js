// Choosing, listing and sending files. Without this script the form sends itself.

const form = document.querySelector("[data-upload]");
const input = form.querySelector("input[type=file]");
const find = (name) => form.querySelector(`[data-${name}]`);
const zone = find("drop-zone");
const list = find("files");
const icons = new URL(form.querySelector("use").getAttribute("href"), location.href);
const limits = {
  files: Number(form.dataset.maxFiles),
  fileBytes: Number(form.dataset.maxFileBytes),
  totalBytes: Number(form.dataset.maxTotalBytes),
};
// These may hold a whole examination: the upload alone limits them.
const LARGE = /\.(zip|nii|nii\.gz)$/i;
// A series has hundreds of files: so many are listed, the rest is counted.
const LISTED = 100;
let chosen = [];
let request = null;

function size(bytes) {
  const units = ["bytes", "KB", "MB", "GB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${bytes < 10 && unit ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `${icons.pathname}#${name}`);
  svg.append(use);
  return svg;
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// The place of a file in its folder. The browser tells that of chosen files, not of dropped ones.
const places = new WeakMap();

function placeOf(file) {
  return places.get(file) || file.webkitRelativePath || file.name;
}

function row(file) {
  const item = document.createElement("li");
  const name = element("span", "file-name", placeOf(file));
  if (file.size > limits.fileBytes && !LARGE.test(file.name)) {
    name.append(
      element("span", "file-problem", `Larger than ${size(limits.fileBytes)}: it will be refused.`),
    );
  }
  const remove = element("button", "btn btn-quiet btn-sm");
  remove.type = "button";
  remove.setAttribute("aria-label", `Remove ${file.name}`);
  remove.append(icon("close"));
  remove.addEventListener("click", () => {
    const index = chosen.indexOf(file);
    show(chosen.filter((other) => other !== file));
    const next = list.querySelectorAll("button")[Math.min(index, chosen.length - 1)];
    (next ?? find("choose")).focus();
  });
  item.append(icon("file"), name, element("span", "file-size", size(file.size)), remove);
  return item;
}

function show(files) {
  chosen = files;
  list.replaceChildren(...chosen.slice(0, LISTED).map(row));
  if (chosen.length > LISTED) {
    list.append(element("li", "text-secondary", `and ${chosen.length - LISTED} more`));
  }
  const total = chosen.reduce((sum, file) => sum + file.size, 0);
  let text = "";
  if (chosen.length) {
    text = `${chosen.length} ${chosen.length === 1 ? "file" : "files"}, ${size(total)}.`;
  }
  const tooMuch = chosen.length > limits.files || total > limits.totalBytes;
  if (tooMuch) {
    text += ` Too much for one upload (at most ${limits.files} files, ${size(limits.totalBytes)}): send a ZIP archive for each examination.`;
  }
  find("summary").textContent = text;
  find("summary").classList.toggle("text-danger", tooMuch);
  find("send").disabled = tooMuch;
  find("clear").hidden = chosen.length < 2;
}

function add(files) {
  // Two folders may well hold files of one name.
  const identity = (file) => `${placeOf(file)}/${file.size}/${file.lastModified}`;
  const known = new Set(chosen.map(identity));
  const fresh = [...files].filter((file) => !known.has(identity(file)));
  fail("");
  show([...chosen, ...fresh]);
}

function fail(sentence) {
  find("errors").replaceChildren(
    ...(sentence ? [element("div", "alert alert-danger", sentence)] : []),
  );
}

function sending(active) {
  find("progress").hidden = !active;
  find("cancel").hidden = !active;
  find("send").disabled = active;
  find("choose").disabled = active;
  find("choose-folder").disabled = active;
  find("clear").disabled = active;
  for (const button of list.querySelectorAll("button")) {
    button.disabled = active;
  }
}

function progress(fraction) {
  const percent = Math.floor(fraction * 100);
  form.querySelector("progress").value = percent;
  find("percent").textContent = `${percent} %`;
  find("progress-text").textContent =
    percent < 100 ? "Sending" : "Sent; the server is checking the files";
}

function send() {
  const data = new FormData();
  data.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  for (const file of chosen) {
    data.append(input.name, file);
  }
  request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) {
      progress(event.loaded / event.total);
    }
  });
  request.addEventListener("load", () => answer(request));
  request.addEventListener("error", () => {
    sending(false);
    fail(
      "The connection broke before the files had arrived. Check the network and send them again.",
    );
  });
  request.addEventListener("abort", () => {
    sending(false);
    find("choose").focus();
  });
  progress(0);
  sending(true);
  request.send(data);
}

function answer(done) {
  const landed = new URL(done.responseURL, location.href);
  if (done.status < 400 && landed.pathname !== new URL(form.action).pathname) {
    // This is the page of the upload, or the sign-in page if the session has ended meanwhile.
    location.assign(landed);
    return;
  }
  sending(false);
  const page = new DOMParser().parseFromString(done.responseText, "text/html");
  const errors = page.querySelector("[data-upload] [data-errors]");
  const feedback = page.querySelector("[data-upload] .invalid-feedback");
  const sentence = (feedback ?? errors)?.textContent.trim();
  if (done.status === 413) {
    fail("The server refused this much at once. Send fewer or smaller files.");
  } else {
    fail(sentence || "The server could not take the files. Reload the page and try again.");
  }
}

find("choose").addEventListener("click", () => input.click());
find("choose-folder").addEventListener("click", () => find("folder").click());
find("folder").addEventListener("change", () => {
  add(find("folder").files);
  find("folder").value = "";
});
find("clear").addEventListener("click", () => {
  show([]);
  find("choose").focus();
});

function take() {
  add(input.files);
  // The list is the truth from here on, and the same file can be chosen again after a removal.
  input.value = "";
}

input.addEventListener("change", take);
if (input.files.length) {
  // These were chosen before this script ran, or kept by the browser over a reload.
  take();
}
input.required = false;
input.tabIndex = -1;

for (const type of ["dragenter", "dragover"]) {
  zone.addEventListener(type, (event) => {
    event.preventDefault();
    zone.classList.add("is-over");
  });
}
for (const type of ["dragleave", "drop"]) {
  zone.addEventListener(type, () => zone.classList.remove("is-over"));
}
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  if (!find("choose").disabled) {
    drop(event.dataTransfer);
  }
});

async function drop(transfer) {
  // Entries are known only until this event ends: take all of them before the first wait.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) {
    add(transfer.files);
    return;
  }
  try {
    const found = [];
    for (const entry of entries) {
      await collect(entry, found);
    }
    add(found);
  } catch {
    fail("The folder could not be read. Choose it with the button, or send it as a ZIP archive.");
  }
}

async function collect(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    places.set(file, entry.fullPath.slice(1));
    found.push(file);
    return;
  }
  const reader = entry.createReader();
  // A reader hands out some hundred entries at a time, and none when it is done.
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length || found.length > limits.files) {
      return;
    }
    for (const child of entries) {
      await collect(child, found);
    }
  }
}
// A file dropped beside the zone must not replace the page.
for (const type of ["dragover", "drop"]) {
  window.addEventListener(type, (event) => event.preventDefault());
}

find("cancel").addEventListener("click", () => request?.abort());
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (chosen.length) {
    send();
  } else {
    fail("Choose at least one file first.");
    find("choose").focus();
  }
});
