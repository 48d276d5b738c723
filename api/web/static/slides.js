// The microscope: OpenSeadragon over the tiles of one slide, with a scale bar in micrometres.

/** @typedef {{width: number, height: number, tile_width: number, tile_height: number, columns: number, rows: number}} Level */
/** @typedef {{levels: Level[], micrometres_per_pixel: number | null}} SlideInfo */

const OpenSeadragon = window.OpenSeadragon;
const place = document.getElementById("slide");
const LONGEST_BAR_PIXELS = 140;

/**
 * Describe the pyramid to OpenSeadragon. Levels of a slide shrink by any factor and their edge tiles are padded to full
 * size, so both are told level by level instead of being computed from the largest.
 * @param {SlideInfo} info
 */
function tileSource({ levels }) {
  const largest = levels[levels.length - 1];
  const source = new OpenSeadragon.TileSource({
    width: largest.width,
    height: largest.height,
    tileWidth: largest.tile_width,
    tileHeight: largest.tile_height,
    minLevel: 0,
    maxLevel: levels.length - 1,
    getTileUrl: (level, column, row) => `${place.dataset.address}/tiles/${level}/${column}_${row}.jpg`,
  });
  source.getLevelScale = (level) => levels[level].width / largest.width;
  source.getNumTiles = (level) => new OpenSeadragon.Point(levels[level].columns, levels[level].rows);
  source.getTileWidth = (level) => levels[level].tile_width;
  source.getTileHeight = (level) => levels[level].tile_height;
  source.getTileAtPoint = (level, point) => {
    const { width, tile_width, tile_height, columns, rows } = levels[level];
    const column = Math.floor((point.x * width) / tile_width);
    const row = Math.floor((point.y * width) / tile_height);
    return new OpenSeadragon.Point(Math.min(Math.max(column, 0), columns - 1), Math.min(Math.max(row, 0), rows - 1));
  };
  source.getTileBounds = (level, column, row, inTile) => {
    const { width, tile_width, tile_height } = levels[level];
    if (inTile) return new OpenSeadragon.Rect(0, 0, tile_width, tile_height);
    const [w, h] = [tile_width / width, tile_height / width];
    return new OpenSeadragon.Rect(column * w, row * h, w, h);
  };
  return source;
}

/**
 * Keep a bar of a round length under the slide.
 * @param {any} viewer
 * @param {number} micrometresPerPixel
 */
function showScale(viewer, micrometresPerPixel) {
  const bar = document.querySelector(".slide-scale");
  const line = bar.firstElementChild;
  const draw = () => {
    const image = viewer.world.getItemAt(0);
    if (!image) return;
    const micrometresPerScreenPixel = micrometresPerPixel / image.viewportToImageZoom(viewer.viewport.getZoom(true));
    const most = LONGEST_BAR_PIXELS * micrometresPerScreenPixel;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].map((step) => step * power).find((step) => step <= most);
    line.style.width = `${length / micrometresPerScreenPixel}px`;
    line.textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
    bar.hidden = false;
  };
  viewer.addHandler("open", draw);
  viewer.addHandler("animation", draw);
  viewer.addHandler("resize", draw);
  draw();
}

async function open() {
  const answer = await fetch(`${place.dataset.address}/info.json`);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  /** @type {SlideInfo} */
  const info = await answer.json();
  const largest = info.levels[info.levels.length - 1];
  const viewer = OpenSeadragon({
    element: place,
    showNavigationControl: false,
    showNavigator: true,
    navigatorPosition: "BOTTOM_RIGHT",
    maxZoomPixelRatio: 2,
    visibilityRatio: 0.5,
    animationTime: 0.6,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    crossOriginPolicy: false,
  });
  viewer.addTiledImage({
    tileSource: tileSource(info),
    // Edge tiles are padded; the padding is no part of the slide.
    clip: new OpenSeadragon.Rect(0, 0, largest.width, largest.height),
    success: () => viewer.raiseEvent("resize", {}),
  });
  const tools = {
    in: () => viewer.viewport.zoomBy(2),
    out: () => viewer.viewport.zoomBy(0.5),
    whole: () => viewer.viewport.goHome(),
  };
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.addEventListener("click", () => tools[button.dataset.tool]());
  }
  if (info.micrometres_per_pixel) showScale(viewer, info.micrometres_per_pixel);
}

// Inside the reading page the slide is a frame, and the way back is that page's.
document.querySelector(".slide-back").hidden = window.top !== window;
open().catch(() => {
  document.querySelector(".slide-problem").hidden = false;
});
