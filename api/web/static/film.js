// Turns the images of a film under a finger: swipe to turn, spread to enlarge, play. Without it the arrows are links.

const LARGEST = 6;
/** Below this enlargement the phone's picture is sharp enough. */
const WANTS_ALL_PIXELS = 1.4;
const AHEAD = 4;
const PLAY_MILLISECONDS = 66;

/** @param {HTMLElement} viewer */
function turnPages(viewer) {
  const { address } = viewer.dataset;
  const first = Number(viewer.dataset.first);
  const last = Number(viewer.dataset.last);
  const figure = viewer.querySelector("figure");
  const picture = figure.querySelector("img");
  const slider = viewer.querySelector(".film-slider");
  const count = viewer.querySelector(".film-count span");
  const failed = viewer.querySelector(".film-failed");
  const play = viewer.querySelector(".film-play");
  const [back, on] = viewer.querySelectorAll("a.film-step");
  let number = Number(viewer.dataset.number);
  let view = { scale: 1, x: 0, y: 0 };
  let timer = 0;
  /** @type {Map<number, HTMLImageElement>} */
  const ahead = new Map();

  const place = (n) => `${address}/${n}.jpg`;
  const name = (n) => picture.alt.replace(/\d+/, String(n - first + 1));

  /** @param {number} n */
  function load(n) {
    if (n < first || n > last) return null;
    if (!ahead.has(n)) {
      const image = new Image();
      image.src = place(n);
      ahead.set(n, image);
      if (ahead.size > 600) ahead.delete(ahead.keys().next().value);
    }
    return ahead.get(n);
  }

  /** @param {number} n */
  function show(n) {
    const wanted = Math.min(Math.max(n, first), last);
    const direction = wanted < number ? -1 : 1;
    number = wanted;
    slider.value = String(number);
    count.textContent = String(number - first + 1);
    back.setAttribute("aria-disabled", String(number === first));
    on.setAttribute("aria-disabled", String(number === last));
    const image = load(number);
    const put = () => {
      // A quick finger is further by the time that a picture arrives.
      if (image.src !== new URL(place(number), location.href).href) return;
      picture.src = image.src;
      picture.alt = name(number);
    };
    if (image.complete) put();
    else image.addEventListener("load", put, { once: true });
    image.addEventListener("error", () => { failed.hidden = false; }, { once: true });
    failed.hidden = !(image.complete && image.naturalWidth === 0);
    for (let step = 1; step <= AHEAD; step += 1) load(number + direction * step);
    load(number - direction);
  }

  function draw() {
    const { width, height } = figure.getBoundingClientRect();
    view.x = Math.min(0, Math.max(view.x, width * (1 - view.scale)));
    view.y = Math.min(0, Math.max(view.y, height * (1 - view.scale)));
    picture.style.transform = view.scale === 1 ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    figure.toggleAttribute("data-enlarged", view.scale > 1);
    if (view.scale > WANTS_ALL_PIXELS && !picture.src.includes("whole=")) {
      const whole = new Image();
      const of = number;
      whole.onload = () => { if (of === number && view.scale > 1) picture.src = whole.src; };
      whole.src = `${place(number)}?whole=true`;
    }
  }

  /** Enlarge around a point of the screen. @param {number} scale @param {number} clientX @param {number} clientY */
  function enlarge(scale, clientX, clientY) {
    const frame = figure.getBoundingClientRect();
    const [px, py] = [clientX - frame.left, clientY - frame.top];
    const next = Math.min(Math.max(scale, 1), LARGEST);
    const ratio = next / view.scale;
    view = { scale: next, x: px - (px - view.x) * ratio, y: py - (py - view.y) * ratio };
    draw();
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "▶";
  }

  /** @type {Map<number, PointerEvent>} */
  const fingers = new Map();
  let swiped = 0;
  let tapped = 0;
  const stride = last - first < 8 ? 56 : last - first < 60 ? 18 : 8;

  figure.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    stop();
    figure.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    swiped = 0;
    if (fingers.size === 1 && event.timeStamp - tapped < 300) {
      enlarge(view.scale > 1 ? 1 : 2.5, event.clientX, event.clientY);
    }
    tapped = event.timeStamp;
  });
  figure.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const others = [...fingers.values()].filter((one) => one.pointerId !== event.pointerId);
    if (others.length === 1) {
      const [other] = others;
      const distance = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      const ratio = distance(event) / Math.max(distance(before), 1);
      enlarge(view.scale * ratio, (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
    } else if (view.scale > 1) {
      view.x += event.clientX - before.clientX;
      view.y += event.clientY - before.clientY;
      draw();
    } else {
      swiped += event.clientX - before.clientX;
      const steps = Math.trunc(swiped / stride);
      if (steps) {
        swiped -= steps * stride;
        show(number - steps);
      }
    }
    fingers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    figure.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  figure.addEventListener("wheel", (event) => {
    event.preventDefault();
    stop();
    if (event.ctrlKey) enlarge(view.scale * (event.deltaY < 0 ? 1.15 : 0.87), event.clientX, event.clientY);
    else show(number + Math.sign(event.deltaY));
  }, { passive: false });
  figure.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    const frame = figure.getBoundingClientRect();
    const middle = [frame.left + frame.width / 2, frame.top + frame.height / 2];
    if (steps) show(number + steps);
    else if (event.key === "+" || event.key === "=") enlarge(view.scale * 1.5, ...middle);
    else if (event.key === "-") enlarge(view.scale / 1.5, ...middle);
    else return;
    event.preventDefault();
  });
  for (const [link, step] of [[back, -1], [on, 1]]) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      stop();
      show(number + step);
    });
  }
  slider.addEventListener("input", () => {
    stop();
    show(Number(slider.value));
  });
  play.addEventListener("click", () => {
    if (timer) {
      stop();
      return;
    }
    play.textContent = "❚❚";
    timer = setInterval(() => {
      const next = number === last ? first : number + 1;
      if (load(next)?.complete) show(next);
    }, PLAY_MILLISECONDS);
  });
  picture.addEventListener("error", () => { failed.hidden = false; });

  viewer.toggleAttribute("data-single", first === last);
  slider.hidden = first === last;
  play.hidden = last - first < 9;
  viewer.querySelector(".film-hint").hidden = false;
  if (picture.complete && picture.naturalWidth === 0) failed.hidden = false;
  show(number);
}

for (const viewer of document.querySelectorAll(".film-viewer")) turnPages(viewer);
