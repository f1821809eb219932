// The live page: asks /status every two seconds and shows what it says.
//
// It keeps nothing between two answers but the newest one: the history is the server's, so a page
// opened late, or after a restart, shows what there is. Charts are drawn by hand, because six
// plain line charts are less code than a library is to review, update and serve, and nothing
// from outside may be loaded. Whatever comes from the server is set as text, never as markup.
'use strict';

const POLL_MS = 2000;
const PATIENCE_MS = 4000;
const SVG = 'http://www.w3.org/2000/svg';
const byId = (id) => document.getElementById(id);

// --- Elements ------------------------------------------------------------------------------

function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children); // strings become text
  return node;
}

function draw(name, attributes = {}, text = '') {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

// Sets text only where it differs: an unchanged sentence is not read out again.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// --- Numbers as text -----------------------------------------------------------------------

const none = '–';

function number(value, digits = 0) {
  if (value === null || value === undefined) return none;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}

// Three digits are enough for a rate: 0.25, 3.1, 120.
function rate(value) {
  return number(value, value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

function percent(ratio) {
  return `${number(ratio * 100, ratio > 0 && ratio < 0.1 ? 1 : 0)} %`;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return none;
  const [value, unit] =
    seconds === 0 ? [0, 'ms']
    : seconds < 1e-3 ? [seconds * 1e6, 'µs']
    : seconds < 1 ? [seconds * 1e3, 'ms']
    : seconds < 120 ? [seconds, 's']
    : seconds < 7200 ? [seconds / 60, 'min'] : [seconds / 3600, 'h'];
  return `${number(value, value < 10 ? 1 : 0)} ${unit}`;
}

function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${number(value, value < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`;
}

const clock = (unix) => new Date(unix * 1000).toLocaleTimeString('en-GB');

// --- Charts --------------------------------------------------------------------------------

// `keys` are columns of the history; the first one's line is solid, the others are dashed.
const CHARTS = [
  { title: 'Utilisation', unit: '% of the workers’ time', format: percent, top: 1,
    lines: [['utilisation', 'busy'], ['saturated', 'all busy, some waiting']] },
  { title: 'Queue depth', unit: 'connections waiting for a worker', format: number,
    lines: [['queued', 'waiting']] },
  { title: 'Queue wait', unit: 'time until a worker was free', format: duration, time: true,
    lines: [['queue_wait_p50', 'p50'], ['queue_wait_p95', 'p95'], ['queue_wait_p99', 'p99']] },
  { title: 'Messages', unit: 'per second', format: rate,
    lines: [['messages_per_second', 'messages'], ['errors_per_second', 'failed']] },
  { title: 'Handler time', unit: 'per message; bands up to p95 and p99', format: duration,
    time: true, bands: true,
    lines: [['handler_p50', 'p50'], ['handler_p95', 'p95'], ['handler_p99', 'p99']] },
  { title: 'New connections', unit: 'per second', format: rate,
    lines: [['accepted_per_second', 'accepted'], ['rejected_per_second', 'rejected']] },
];
const STYLES = ['one', 'two', 'three'];
const EDGE = { left: 52, right: 10, top: 8, bottom: 20 };
const HEIGHT = 150;

// The least round number of 1, 2, 2.5, 5 and their tens at or above `value`.
function roundUp(value) {
  const ten = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * ten).find((step) => step >= value * 0.999999);
}

// The top of an axis that begins at zero and has four even steps.
function axisTop(highest, chart) {
  if (chart.top) return chart.top;
  if (chart.time) return 4 * roundUp(Math.max(highest, 0.001) / 4);
  return 4 * roundUp(Math.max(highest, 4) / 4);
}

// How much time the axis shows: what there is, between two minutes and fifteen.
function span(history) {
  const first = history.time[0];
  const last = history.time[history.time.length - 1];
  const covered = first === undefined ? 0 : last - first;
  return [120, 300, 600, 900].find((seconds) => covered <= seconds) ?? 900;
}

const place = (point) => point.map((coordinate) => coordinate.toFixed(1)).join(' ');

function path(points) {
  let text = '';
  let pen = false;
  for (const point of points) {
    // Where nothing was measured there is a gap; a lonely point is a dot.
    if (point) text += pen ? `L${place(point)}` : `M${place(point)}h0`;
    pen = Boolean(point);
  }
  return text;
}

// The band between two lines, in pieces where both are known.
function band(upper, lower) {
  let text = '';
  let piece = [];
  const finish = () => {
    if (piece.length > 1) {
      const there = piece.map(([up]) => up);
      const back = piece.map(([, low]) => low).reverse();
      text += `M${[...there, ...back].map(place).join('L')}Z`;
    }
    piece = [];
  };
  upper.forEach((up, index) => {
    if (up && lower[index]) piece.push([up, lower[index]]);
    else finish();
  });
  finish();
  return text;
}

class Chart {
  constructor(chart) {
    this.chart = chart;
    this.cursor = null;
    this.values = chart.lines.map(() => make('b'));
    const keys = chart.lines.map(([, label], index) => {
      const sample = draw('svg', { viewBox: '0 0 20 8', 'aria-hidden': 'true' });
      sample.append(draw('path', { d: 'M1 4H19', class: `line ${STYLES[index]}` }));
      return make('span', {}, sample, label, this.values[index]);
    });
    this.plot = draw('svg', { class: 'plot', role: 'img' });
    const caption = make('figcaption', {}, `${chart.title} `, make('small', {}, chart.unit));
    const legend = make('div', { class: 'keys' }, ...keys);
    this.root = make('figure', { class: 'chart' }, caption, legend, this.plot);
    this.plot.addEventListener('pointermove', (event) => this.point(event.offsetX));
    this.plot.addEventListener('pointerleave', () => this.point(null));
  }

  point(x) {
    this.cursor = x;
    if (this.history) this.render(this.history);
  }

  render(history) {
    this.history = history;
    const { chart } = this;
    const width = this.plot.clientWidth || 320;
    const columns = chart.lines.map(([key]) => history[key]);
    const highest = columns.flat().reduce((most, value) => Math.max(most, value ?? 0), 0);
    const top = axisTop(highest, chart);
    const seconds = span(history);
    const last = history.time[history.time.length - 1] ?? 0;
    const right = width - EDGE.right;
    const bottom = HEIGHT - EDGE.bottom;
    const x = (time) => right - ((last - time) / seconds) * (right - EDGE.left);
    const y = (value) => bottom - (Math.min(value, top) / top) * (bottom - EDGE.top);

    const parts = [...axes(chart, top, seconds, { right, bottom, y })];
    // What lies before the axis is not drawn over its labels.
    const from = history.time.findIndex((time) => x(time) >= EDGE.left - 0.5);
    const points = columns.map((column) => column.slice(from).map((value, index) =>
      value === null ? null : [x(history.time[from + index]), y(value)]));
    if (chart.bands) {
      parts.push(draw('path', { d: band(points[2], points[1]), class: 'area outer' }));
      parts.push(draw('path', { d: band(points[1], points[0]), class: 'area' }));
    } else {
      const floor = points[0].map((at) => at && [at[0], bottom]);
      parts.push(draw('path', { d: band(points[0], floor), class: 'area' }));
    }
    points.map((line, index) => [line, index]).reverse().forEach(([line, index]) =>
      parts.push(draw('path', { d: path(line), class: `line ${STYLES[index]}` })));

    const at = this.pick(history, x);
    if (this.cursor !== null && at >= 0) {
      const x1 = x(history.time[at]);
      parts.push(draw('line', { x1, x2: x1, y1: EDGE.top, y2: bottom, class: 'cursor' }));
    }
    const shown = columns.map((column) => chart.format(column[at] ?? (chart.time ? null : 0)));
    shown.forEach((text, index) => say(this.values[index], text));
    const words = chart.lines.map(([, label], index) => `${label} ${shown[index]}`).join(', ');
    this.plot.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    this.plot.setAttribute('aria-label',
      `${chart.title}, ${chart.unit}: ${words}; highest ${chart.format(highest)}`);
    this.plot.replaceChildren(...parts);
  }

  // The step under the pointer, or the newest.
  pick(history, x) {
    const newest = history.time.length - 1;
    if (this.cursor === null) return newest;
    const distances = history.time.map((time) => Math.abs(x(time) - this.cursor));
    return distances.indexOf(Math.min(...distances));
  }
}

function axes(chart, top, seconds, { right, bottom, y }) {
  const parts = [];
  for (const step of [0, 1, 2, 3, 4]) {
    const value = (top * step) / 4;
    const at = y(value);
    const kind = step === 0 ? 'base' : 'grid';
    parts.push(draw('line', { x1: EDGE.left, x2: right, y1: at, y2: at, class: kind }));
    if (step % 2 === 0) {
      const beside = { x: EDGE.left - 6, y: at + 4, 'text-anchor': 'end' };
      parts.push(draw('text', beside, chart.format(value)));
    }
  }
  const minutes = seconds / 60;
  const labels = [
    [EDGE.left, 'start', `−${minutes} min`],
    [(EDGE.left + right) / 2, 'middle', `−${minutes / 2} min`],
    [right, 'end', 'now'],
  ];
  for (const [at, anchor, text] of labels) {
    parts.push(draw('text', { x: at, y: HEIGHT - 5, 'text-anchor': anchor }, text));
  }
  return parts;
}

// --- Tiles, workers, tables ----------------------------------------------------------------

const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

// Title, id, value, and a line of detail.
function tiles({ window, pool, connections, messages }) {
  const wait = window.queue_wait_seconds;
  const handler = window.handler_seconds;
  const shed = sum(pool.shed_total);
  return [
    ['Utilisation', 'utilisation', percent(window.utilisation),
      `${number(pool.workers_busy)} of ${number(pool.workers)} busy now`],
    ['Queue depth', 'queued', number(connections.queued),
      `saturated ${percent(window.saturated)}`
        + (shed > 0 ? `, ${number(shed)} shed` : '')],
    ['Queue wait p95', 'wait', duration(wait.p95),
      `p50 ${duration(wait.p50)}, p99 ${duration(wait.p99)}`],
    ['Handler p50', 'handler', duration(handler.p50),
      `p95 ${duration(handler.p95)}, p99 ${duration(handler.p99)}`],
    ['Messages per second', 'rate', rate(window.messages_per_second),
      `${number(messages.total)} in total`],
    ['Open connections', 'open', number(connections.open),
      `of at most ${number(connections.limit)}`],
  ];
}

function showTiles(status) {
  const root = byId('tiles');
  for (const [title, id, value, detail] of tiles(status)) {
    if (!byId(id)) {
      root.append(make('div', {}, make('dt', {}, title),
        make('dd', { id }), make('dd', { id: `${id}-detail` })));
    }
    say(byId(id), value);
    say(byId(`${id}-detail`), detail);
  }
}

const MOST_SQUARES = 512;

// From which length on a turn is one of a stuck worker: one patience holds for all workers, so the
// stuck ones are those that have been longest in their turn.
function stuckFrom({ turn_seconds: turns, workers_overdue: overdue }) {
  const longest = turns.filter((seconds) => seconds !== null).sort((a, b) => b - a);
  return longest[overdue - 1] ?? Infinity;
}

function showWorkers({ pool }) {
  const stuck = stuckFrom(pool);
  const turns = pool.turn_seconds.slice(0, MOST_SQUARES);
  const root = byId('workers');
  while (root.children.length > turns.length) root.lastChild.remove();
  while (root.children.length < turns.length) root.append(make('li'));
  root.classList.toggle('many', turns.length > 64);
  turns.forEach((seconds, index) => {
    const busy = seconds !== null;
    const isStuck = busy && seconds >= stuck;
    const does = isStuck ? 'stuck for' : 'busy for';
    const words = `worker ${index + 1}: ${busy ? `${does} ${duration(seconds)}` : 'idle'}`;
    const square = root.children[index];
    square.className = ['worker', busy && 'busy', seconds >= 1 && 'long',
      seconds >= 10 && 'overlong', isStuck && 'stuck'].filter(Boolean).join(' ');
    square.setAttribute('aria-label', words);
    square.setAttribute('title', words);
    say(square, busy ? duration(seconds) : '');
  });
  const hidden = pool.turn_seconds.length - turns.length;
  const wanted = pool.workers_limit;
  const limit = pool.workers === wanted ? '' : ` of ${number(wanted)} wanted`;
  const overdue = pool.workers_overdue;
  say(byId('workers-note'), `${number(pool.workers)}${limit}, ${number(pool.workers_busy)} busy`
    + (overdue > 0 ? `, ${number(overdue)} stuck` : '')
    + (hidden > 0 ? `; the first ${MOST_SQUARES} are shown` : ''));
}

// What somebody has to know who looks at nothing else.
function showNotices({ pool, state }) {
  const { workers, workers_overdue: overdue } = pool;
  const who = overdue >= workers ? 'No worker is left: none has' :
    overdue === 1 ? 'One worker has not' : `${number(overdue)} workers have not`;
  const notices = {
    stuck: overdue > 0 && `${who} come back from its call. Look at what the service waits for; `
      + 'the log names worker and connection. If the call does not return, only a restart helps.',
    draining: state === 'draining' && 'The server was told to stop: it answers what it owes, and '
      + 'ends.',
  };
  for (const [id, text] of Object.entries(notices)) {
    byId(id).hidden = !text;
    say(byId(id), text || '');
  }
}

const words = (label) => label.replaceAll('_', ' ');
const byReason = (counts) => Object.entries(counts).map(([key, value]) => [words(key), value]);

function tables({ connections, messages, pool }) {
  const listeners = connections.listeners.map((one) => [one.address, one.accepted_total]);
  return [
    ['Open connections', [['waiting for input', connections.parked],
      ['in the queue', connections.queued], ['with a worker', connections.active],
      ['closing', connections.closing]]],
    ['Accepted', listeners],
    ['Rejected', byReason(connections.rejected_total)],
    ['Closed', byReason(connections.closed_total)],
    ['Messages', [['answered or failed', messages.total], ['failed', messages.errors_total],
      ['handler panics', messages.handler_panics_total],
      ['received', bytes(messages.received_bytes_total)],
      ['sent', bytes(messages.sent_bytes_total)]]],
    ['Failed messages', byReason(messages.errors_by_reason_total)],
    ['Accept errors', byReason(connections.accept_errors_total)],
    ['Pauses of accepting', byReason(connections.accept_pauses_total)],
    ['Shed', byReason(pool.shed_total)],
    ['Pool', [['turns', pool.turns_total], ['restarts', pool.restarts_total],
      ['stuck workers', pool.workers_overdue],
      ['busy', duration(pool.busy_seconds_total)],
      ['saturated', duration(pool.saturated_seconds_total)]]],
  ];
}

function showTables(status) {
  const made = tables(status).filter(([, rows]) => rows.length > 0).map(([title, rows]) => {
    const lines = rows.map(([label, value]) => make('tr', { class: value ? '' : 'zero' },
      make('th', { scope: 'row' }, label),
      make('td', {}, typeof value === 'number' ? number(value) : value)));
    return make('table', {},
      make('thead', {}, make('tr', {}, make('th', { scope: 'col', colspan: 2 }, title))),
      make('tbody', {}, ...lines));
  });
  byId('tables').replaceChildren(...made);
}

// --- The page ------------------------------------------------------------------------------

const ADVICE = {
  unknown: 'Not known yet',
  fine: 'The pool is fine',
  grow: 'The pool is too small',
  shrink: 'The pool is larger than needed',
  elsewhere: 'Something else is slow',
};
const charts = CHARTS.map((chart) => new Chart(chart));
byId('charts').append(...charts.map((chart) => chart.root));
let newest = null;

function show(status) {
  say(byId('version'), status.version);
  say(byId('state'), status.state);
  byId('state').dataset.state = status.state;
  say(byId('updated'), `updated ${clock(status.time)}, every ${POLL_MS / 1000} s`);
  byId('verdict').dataset.advice = status.verdict.advice;
  say(byId('advice'), ADVICE[status.verdict.advice] ?? status.verdict.advice);
  say(byId('sentence'), status.verdict.sentence);
  const { recommended_workers: size, reason } = status.verdict;
  say(byId('reason'), size ? `Recommended: ${reason}` : '');
  say(byId('window'), `over the last ${number(status.window.seconds)} s`);
  const minutes = (status.time - status.since) / 60;
  say(byId('span'), minutes < 15 ? `since the start at ${clock(status.since)}` : 'of 15 minutes');
  showNotices(status);
  showTiles(status);
  showWorkers(status);
  showTables(status);
  say(byId('config'), status.config || 'The server did not hand one in.');
  document.title = `${percent(status.window.utilisation)} busy · welcomed`;
  for (const chart of charts) chart.render(status.history);
}

function isAway(away) {
  document.body.dataset.link = away ? 'away' : 'here';
  byId('away').hidden = !away;
  if (!away) return;
  const when = newest ? ` These numbers are of ${clock(newest.time)}.` : '';
  say(byId('away'), `The server is away; trying again every ${POLL_MS / 1000} s.${when}`);
  say(byId('state'), 'away');
  document.title = 'away · welcomed';
}

async function ask() {
  const answer = await fetch('/status', { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

async function poll() {
  try {
    newest = await ask();
  } catch {
    // Old numbers, said to be old, are better than none.
    isAway(true);
    return;
  }
  isAway(false);
  show(newest);
}

async function forever() {
  for (;;) {
    const begun = Date.now();
    await poll();
    await new Promise((again) => setTimeout(again, Math.max(0, begun + POLL_MS - Date.now())));
  }
}

addEventListener('resize', () => newest && charts.forEach((chart) => chart.render(newest.history)));
forever();
