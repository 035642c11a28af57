"""The page that `html.save_html` fills: what stands between two @ is put in its place."""

# What it shows is a function of `state` alone: draw() after every change.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@title@</title>
<style>
:root { color-scheme: light dark; --ground: #fff; --text: #1a1a1a; --quiet: #595959; --line: #8a8a8a; --accent: #b34700; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16181c; --text: #ececec; --quiet: #b0b0b0; --line: #7d7d7d; --accent: #ff9d4d; }
}
body { margin: 1.5rem auto; max-width: 62rem; padding: 0 1rem; background: var(--ground); color: var(--text);
  font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.3rem; }
p { margin: .4rem 0; color: var(--quiet); }
main { display: flex; flex-wrap: wrap; gap: 2rem; align-items: flex-start; }
#view { position: relative; flex: 1 1 20rem; max-width: 30rem; aspect-ratio: @ratio@; }
#view img, #view canvas { position: absolute; width: 100%; height: 100%; image-rendering: @rendering@; }
#places button { position: absolute; padding: 0; border: 0; background: none; cursor: pointer; }
#places button:hover, #places button:focus-visible { outline: 2px solid #fff; box-shadow: 0 0 0 4px #000; }
#places button[aria-pressed=true] { outline: 3px solid #ff9d4d; box-shadow: 0 0 0 5px #000; }
#side { flex: 1 1 20rem; }
#words { display: flex; flex-wrap: wrap; gap: .4rem; margin: .6rem 0 1rem; }
#words button { border: 2px solid var(--line); border-radius: .4rem; padding: .2rem .5rem; font: inherit; color: inherit;
  background: none; cursor: pointer; min-width: 4.4rem; }
#words button[aria-pressed=true] { border-color: var(--accent); box-shadow: 0 0 0 2px var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
#words span { display: block; min-height: 1.2em; font-size: .75rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.control { display: grid; grid-template-columns: 5rem 1fr; align-items: center; margin: .4rem 0; }
select { font: inherit; max-width: 100%; }
#bar { width: 100%; height: 1rem; display: block; }
#ticks { position: relative; height: 1.4rem; font-size: .8rem; font-variant-numeric: tabular-nums; }
#ticks span { position: absolute; transform: translateX(-50%); }
#ticks span:first-child { transform: none; }
#ticks span:last-child { transform: translateX(-100%); }
#said { min-height: 4.5em; color: var(--text); }
[hidden] { display: none !important; }
</style>
</head>
<body>
<h1>@title@</h1>
<p>Explained: @explained@. Choose a word to see where the model looks for it, or a place of the picture to see which words
look there; a second time lets it go. Arrow keys move among the places.</p>
<main>
<div id="view">
<img id="seen" alt="@alt@" src="data:image/png;base64,@picture@">
<canvas id="overlay" width="480" height="480" aria-hidden="true"></canvas>
<div id="places" role="group" aria-label="Places of the picture"></div>
</div>
<div id="side">
<div id="words" role="group" aria-label="Words of the sentence"></div>
<p id="shared" hidden>This method has one map for the whole sentence: all words share it.</p>
<div class="control"><label for="method">Method</label><select id="method" aria-describedby="what"></select></div>
<p id="what"></p>
<div class="control"><label for="layer">Layer</label><select id="layer"></select></div>
<div class="control"><label for="head">Head</label><select id="head"></select></div>
<div class="control"><label for="opacity">Opacity</label>
<input id="opacity" type="range" min="0" max="100" value="@opacity@"></div>
<canvas id="bar" width="255" height="1" role="img"></canvas>
<div id="ticks" aria-hidden="true"></div>
<p id="said" role="status"></p>
</div>
</main>
<noscript>This page needs JavaScript.</noscript>
<script type="application/json" id="data">@data@</script>
<script>
"use strict";
const get = id => document.getElementById(id);
const data = JSON.parse(get("data").textContent);
const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const tables = data.colours.map(bytes);  // of scales from 0, and of those with 0 in the middle
const rgb = step => tables[map.low < 0 ? 1 : 0].slice(3 * step, 3 * step + 3);
const colour = step => "rgb(" + rgb(step).join() + ")";
const number = value => String(Number(value.toPrecision(2)));
const state = { word: data.first, place: null, overWord: null, overPlace: null, layer: null };

function make(tag, parent, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return parent.appendChild(element);
}
function fill(select, names, chosen, usual = 0) {
  select.replaceChildren();
  names.forEach((name, i) => { make("option", select, name).value = i; });
  select.value = names.includes(chosen) ? names.indexOf(chosen) : usual;
  select.disabled = names.length < 2;
}
const chosen = select => select.selectedOptions[0] && select.selectedOptions[0].textContent;
const method = () => data.methods[get("method").value];
const layer = () => method().layers[get("layer").value];
let map;  // of the chosen method, layer and head: steps of words x places

function choose() {  // after another method, layer or head
  fill(get("layer"), method().layers.map(l => l.name), state.layer, method().usual);
  fill(get("head"), layer().heads.map((h, i) => i ? String(i - 1) : "mean"), chosen(get("head")));
  const { low, high, steps } = layer().heads[get("head").value];
  map = { low, high, steps: bytes(steps) };
  map.shared = map.steps.length < data.words.length * data.places.length;
  get("what").textContent = method().what;
  get("shared").hidden = !map.shared;
  get("ticks").replaceChildren();
  for (const tick of [low, (low + high) / 2, high])
    make("span", get("ticks"), number(tick)).style.left = 100 * (tick - low) / (high - low) + "%";
  const pen = get("bar").getContext("2d");
  for (let i = 0; i < get("bar").width; i++) { pen.fillStyle = colour(i); pen.fillRect(i, 0, 1, 1); }
  get("bar").setAttribute("aria-label", "Colour scale from " + number(low) + " to " + number(high));
  draw();
}
const step = (word, place) => map.steps[(map.shared ? 0 : word) * data.places.length + place];
// A value with the decimals that its steps can tell.
const value = (word, place) => {
  const size = (map.high - map.low) / (tables[0].length / 3 - 1);
  return String(Number((map.low + step(word, place) * size).toFixed(Math.max(0, Math.ceil(-Math.log10(size))))));
};

function draw() {
  const word = state.overWord ?? state.word, place = state.overPlace ?? state.place;
  const canvas = get("overlay"), pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  get("seen").style.filter = word === null ? "" : "grayscale(1)";  // so that each colour means a value
  let said = "";
  if (word !== null) {
    // Where places lie on each other the highest is on top.
    const order = data.places.map((_, i) => i).sort((i, j) => step(word, i) - step(word, j));
    for (const i of order) {
      const [x0, y0, x1, y1] = data.places[i].slice(1).map(share => Math.round(share * canvas.width));
      pen.fillStyle = colour(step(word, i));
      pen.fillRect(x0, y0, x1 - x0, y1 - y0);
    }
    const top = order[order.length - 1];
    said = "“" + data.words[word] + "”: highest at " + data.places[top][0] + ", " + value(word, top) + ". ";
  }
  words.forEach((button, i) => {
    button.setAttribute("aria-pressed", i === state.word);
    const shade = place === null ? null : rgb(step(i, place));
    button.style.background = shade ? colour(step(i, place)) : "";
    button.style.color = shade ? (0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] > 128 ? "#000" : "#fff") : "";
    button.lastChild.textContent = shade ? value(i, place) : "";
  });
  places.forEach((button, i) => button.setAttribute("aria-pressed", i === state.place));
  if (place !== null) {
    const best = words.map((_, i) => i).reduce((best, i) => step(i, place) > step(best, place) ? i : best);
    said += "At " + data.places[place][0] + ": " + (map.shared ? "" : "highest for “" + data.words[best] + "”, ")
      + value(best, place) + ".";
  }
  get("said").textContent = said;
}
// What the pointer or the focus is on is shown, what was clicked stays.
function listen(button, kind, over, i) {
  button.type = "button";
  button.addEventListener("click", () => {
    state[kind] = state[kind] === i ? null : i;
    state[over] = null;
    draw();
  });
  for (const event of ["mouseenter", "focus"]) button.addEventListener(event, () => { state[over] = i; draw(); });
  for (const event of ["mouseleave", "blur"]) button.addEventListener(event, () => { state[over] = null; draw(); });
  return button;
}
const words = data.words.map((name, i) => {
  const button = listen(make("button", get("words"), name), "word", "overWord", i);
  make("span", button, "");
  return button;
});
const places = data.places.map(([name, x0, y0, x1, y1], i) => {
  const button = listen(make("button", get("places"), ""), "place", "overPlace", i);
  button.setAttribute("aria-label", name);
  Object.assign(button.style, { left: 100 * x0 + "%", top: 100 * y0 + "%", width: 100 * (x1 - x0) + "%",
    height: 100 * (y1 - y0) + "%", zIndex: Math.round(100 - 100 * (x1 - x0) * (y1 - y0)) });  // small ones on top
  // One stop of the Tab key for all places, at the last that had the focus.
  button.tabIndex = i ? -1 : 0;
  button.addEventListener("focus", () => places.forEach((other, j) => { other.tabIndex = j === i ? 0 : -1; }));
  button.addEventListener("keydown", event => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -data.columns, ArrowDown: data.columns }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    if (places[i + by]) places[i + by].focus();
  });
  return button;
});
const opacity = () => {
  get("overlay").style.opacity = get("opacity").value / 100;
  get("opacity").setAttribute("aria-valuetext", get("opacity").value + " %");
};
get("opacity").addEventListener("input", opacity);
get("layer").addEventListener("change", () => { state.layer = chosen(get("layer")); });
for (const id of ["method", "layer", "head"]) get(id).addEventListener("change", choose);
fill(get("method"), data.methods.map(m => m.name));
opacity();
choose();
</script>
</body>
</html>
"""
