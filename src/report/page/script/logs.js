// Node logs, each scrolled to the moment that is chosen. Every line begins with its time in seconds.

const logs = [...document.querySelectorAll('pre.log')].map((element) => {
  const lines = element.textContent.split('\n');
  if (lines[lines.length - 1] === '') lines.pop();
  const times = lines.map((line) => parseFloat(line) * 1e6);
  // A line whose time cannot be read is of the time before it.
  for (let at = 0; at < times.length; at++) if (!(times[at] >= 0)) times[at] = at ? times[at - 1] : 0;
  const mark = document.createElement('div');
  mark.className = 'now';
  mark.hidden = true;
  element.parentElement.append(mark);
  return { element, lines, times, mark };
});

function lineHeight(log) {
  return (log.element.scrollHeight - padding(log)) / Math.max(1, log.lines.length);
}

function padding(log) {
  const style = getComputedStyle(log.element);
  return parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
}

function placeMark(log) {
  if (log.at === undefined) return;
  const height = log.height;
  const top = log.element.offsetTop + padding(log) / 2 + log.at * height - log.element.scrollTop;
  const inside = top >= log.element.offsetTop && top + height <= log.element.offsetTop + log.element.clientHeight;
  log.mark.hidden = !inside;
  log.mark.style.top = top + 'px';
  log.mark.style.height = height + 'px';
}

/** Scrolls each log to its last line at `time` (µs) or before. */
function scrollLogs(time) {
  for (const log of logs) {
    if (!log.lines.length || !log.element.offsetParent) continue;
    let low = 0;
    let high = log.times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (log.times[middle] <= time) low = middle + 1;
      else high = middle;
    }
    log.at = Math.max(0, low - 1);
    log.height = lineHeight(log);
    log.element.scrollTop = log.at * log.height - log.element.clientHeight / 2;
    placeMark(log);
  }
}

/** Calls `chosen(time)` when a line is clicked. */
function onLogLine(chosen) {
  for (const log of logs) {
    log.element.addEventListener('scroll', () => placeMark(log), { passive: true });
    log.element.addEventListener('click', (event) => {
      if (String(getSelection())) return;
      const y = event.clientY - log.element.getBoundingClientRect().top + log.element.scrollTop - padding(log) / 2;
      const line = Math.floor(y / lineHeight(log));
      if (line >= 0 && line < log.times.length) chosen(log.times[line]);
    });
  }
}
