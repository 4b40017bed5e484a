// Markdown as a chat needs it, as DOM nodes. Text never passes through an HTML parser, so nothing in it can run.

const SAFE_LINK = /^(https?:|mailto:)/i;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])( *\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: +|$)(.*)$/;
const TASK = /^\[([ xX])\] +/;
const TABLE_RULE = /^ *\|? *:?-+:? *(\| *:?-+:? *)*\|? *$/;
const OVERRIDES = /([\u202a-\u202e])/; // change the direction of all that follows them
const DEEPEST = 12;

/** Show `source` in `container`. Blocks that are as they were keep their nodes, so a streaming answer can be selected. */
export function showMarkdown(container, source) {
  const blocks = withRanks(splitBlocks(source.split("\n")));
  const shown = container.blockSources ?? [];
  const sources = blocks.map((block) => JSON.stringify(block));
  let same = 0;
  while (same < shown.length && shown[same] === sources[same]) same += 1;
  while (container.childNodes.length > same) container.lastChild.remove();
  container.append(...blocks.slice(same).map((block) => makeBlock(block, 0)));
  container.blockSources = sources;
}

function splitBlocks(lines) {
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const [block, next] = takeFence(lines, at) ?? takeLine(lines, at) ?? takeQuote(lines, at)
      ?? takeList(lines, at) ?? takeTable(lines, at) ?? takeParagraph(lines, at);
    blocks.push(block);
    at = next;
  }
  return blocks;
}

/** Headings follow each other without a gap, whatever marks they have, under the page's own two ranks. */
function withRanks(blocks) {
  let rank = 2;
  for (const block of blocks) {
    if (block.kind === "heading") block.rank = rank = Math.min(block.level + 2, rank + 1, 6);
  }
  return blocks;
}

function takeFence(lines, at) {
  const match = FENCE.exec(lines[at]);
  if (!match) return null;
  const closing = new RegExp(`^ {0,3}${match[1][0]}{${match[1].length},}\\s*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end += 1;
  return [{ kind: "code", language: match[2].trim().split(/\s+/)[0], text: lines.slice(at + 1, end).join("\n") }, end + 1];
}

function takeLine(lines, at) {
  const heading = HEADING.exec(lines[at]);
  if (heading) return [{ kind: "heading", level: heading[1].length, text: heading[2] }, at + 1];
  return RULE.test(lines[at]) ? [{ kind: "rule" }, at + 1] : null;
}

function takeQuote(lines, at) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  return end > at ? [{ kind: "quote", lines: lines.slice(at, end).map((line) => line.replace(QUOTE, "")) }, end] : null;
}

function takeList(lines, at) {
  const first = ITEM.exec(lines[at]);
  if (!first) return null;
  const isOrdered = /\d/.test(first[2]);
  const items = [];
  let end = at;
  let indent = / /; // of what belongs to the last item
  for (; end < lines.length; end += 1) {
    const match = ITEM.exec(lines[end]);
    const isIndented = /^ {2,}/.test(lines[end]);
    if (match && match[1].length <= first[1].length + 1 && /\d/.test(match[2]) === isOrdered) {
      items.push([match[3]]);
      indent = new RegExp(`^ {1,${match[1].length + match[2].length + 1}}`);
    }
    else if (isIndented && lines[end].trim()) items.at(-1).push(lines[end].replace(indent, ""));
    else if (lines[end].trim() || !/^( {2,}|\s*([-*+]|\d{1,9}[.)]) )/.test(lines[end + 1] ?? "")) break;
    else items.at(-1).push("");
  }
  return [{ kind: "list", isOrdered, start: isOrdered ? parseInt(first[2], 10) : 1, items }, end];
}

function takeTable(lines, at) {
  if (!lines[at].includes("|") || !TABLE_RULE.test(lines[at + 1] ?? "")) return null;
  const [heads, rules] = [cellsOf(lines[at]), cellsOf(lines[at + 1])];
  if (heads.length !== rules.length) return null;
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|") && !FENCE.test(lines[end])) end += 1;
  const rows = lines.slice(at + 2, end).map((line) => {
    const cells = cellsOf(line);
    return heads.map((_, column) => cells[column] ?? ""); // surplus ones have no column
  });
  return [{ kind: "table", heads, alignments: rules.map(alignmentOf), rows }, end];
}

/** A row's cells; an escaped pipe is part of one, also in code. */
function cellsOf(line) {
  const cells = [""];
  const row = line.trim();
  for (let at = row[0] === "|" ? 1 : 0; at < row.length; at += 1) {
    if (row[at] === "\\" && row[at + 1] === "|") {
      cells[cells.length - 1] += "|";
      at += 1;
    } else if (row[at] === "|") cells.push("");
    else cells[cells.length - 1] += row[at];
  }
  if (cells.length > 1 && row.endsWith("|") && !cells.at(-1)) cells.pop();
  return cells.map((cell) => cell.trim());
}

function alignmentOf(rule) {
  if (rule.endsWith(":")) return rule.startsWith(":") ? "center" : "right";
  return rule.startsWith(":") ? "left" : "";
}

function takeParagraph(lines, at) {
  let end = at + 1;
  const starts = (line) => !line.trim() || [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));
  while (end < lines.length && !starts(lines[end])) end += 1;
  return [{ kind: "paragraph", text: lines.slice(at, end).join("\n").trim() }, end];
}

function makeBlock(block, depth) {
  switch (block.kind) {
    case "code": return makeCode(block);
    case "heading": return fill(makeText(block.rank ? `h${block.rank}` : "p", block.rank ? "" : "heading"), block.text);
    case "rule": return document.createElement("hr");
    case "quote": return makeNested("blockquote", block.lines, depth);
    case "list": return makeList(block, depth);
    case "table": return makeTable(block);
    default: return fill(makeText("p"), block.text);
  }
}

/** An element of text, whose direction is that of its first letter. */
function makeText(tag, className = "") {
  const element = document.createElement(tag);
  element.dir = "auto";
  if (className) element.className = className;
  return element;
}

function makeNested(tag, lines, depth) {
  const element = makeText(tag);
  if (tag === "li" && TASK.test(lines[0])) lines = [takeTask(element, lines[0]), ...lines.slice(1)];
  if (depth >= DEEPEST) return fill(element, lines.join("\n"));
  const blocks = splitBlocks(lines);
  if (tag === "li" && blocks[0]?.kind === "paragraph") fill(element, blocks.shift().text);
  element.append(...blocks.map((block) => makeBlock(block, depth + 1)));
  return element;
}

/** Give an item its box; its text without the mark. */
function takeTask(item, text) {
  const box = document.createElement("input");
  const isDone = TASK.exec(text)[1] !== " ";
  Object.assign(box, { type: "checkbox", disabled: true, checked: isDone });
  box.setAttribute("aria-label", isDone ? "Done" : "To do");
  item.className = "task";
  item.append(box);
  return text.replace(TASK, "");
}

function makeList(block, depth) {
  const list = document.createElement(block.isOrdered ? "ol" : "ul");
  if (block.start !== 1) list.start = block.start;
  list.append(...block.items.map((lines) => makeNested("li", lines, depth)));
  return list;
}

function makeTable({ heads, alignments, rows }) {
  const table = document.createElement("table");
  const addRow = (part, tag, cells) => {
    const row = part.insertRow();
    cells.forEach((text, column) => {
      const cell = fill(makeText(tag), text);
      if (tag === "th") cell.scope = "col";
      cell.style.textAlign = alignments[column];
      row.append(cell);
    });
  };
  addRow(table.createTHead(), "th", heads);
  const body = table.createTBody();
  for (const cells of rows) addRow(body, "td", cells);
  const scroller = document.createElement("div");
  scroller.className = "scroller";
  scroller.tabIndex = 0;
  scroller.setAttribute("role", "group");
  scroller.setAttribute("aria-label", "Table");
  scroller.append(table);
  return scroller;
}

function makeCode(block) {
  const figure = document.createElement("figure");
  figure.className = "code";
  const caption = document.createElement("figcaption");
  const name = document.createElement("span");
  name.textContent = block.language || "code";
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "copy-code";
  copy.textContent = "Copy";
  caption.append(name, copy);
  const pre = document.createElement("pre");
  pre.tabIndex = 0;
  const code = document.createElement("code");
  appendPlain(code, block.text);
  pre.append(code);
  figure.append(caption, pre);
  return figure;
}

function fill(element, text) {
  appendInline(element, text, 0);
  return element;
}

/** Text as it is; a character that would turn the direction of what follows stands alone, where it turns nothing. */
export function appendPlain(parent, text) {
  text.split(OVERRIDES).forEach((part, index) => {
    if (index % 2 === 0) return part && parent.append(part);
    const alone = document.createElement("bdi");
    alone.className = "control";
    alone.title = `U+${part.charCodeAt(0).toString(16).toUpperCase()}`;
    alone.append(part);
    return parent.append(alone);
  });
}

const MARKS = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];

function appendInline(parent, text, depth) {
  let plain = "";
  const flush = () => {
    if (plain) appendPlain(parent, plain);
    plain = "";
  };
  for (let at = 0; at < text.length; ) {
    const span = depth < DEEPEST ? takeSpan(text, at, depth) : null;
    if (span) {
      flush();
      parent.append(span.node);
      at = span.end;
    } else if (text[at] === "\n") {
      flush();
      parent.append(document.createElement("br"));
      at += 1;
    } else {
      if (text[at] === "\\" && /[\\`*_~[\]()#+.!>|{}-]/.test(text[at + 1] ?? "")) at += 1;
      plain += text[at];
      at += 1;
    }
  }
  flush();
}

function takeSpan(text, at, depth) {
  switch (text[at]) {
    case "`": return takeCodeSpan(text, at);
    case "[": return takeLink(text, at, depth);
    case "h": return takeAddress(text, at);
    case "*": case "_": case "~": return takeMark(text, at, depth);
    default: return null;
  }
}

function takeCodeSpan(text, at) {
  const ticks = /^`+/.exec(text.slice(at, at + 16))[0];
  const close = text.indexOf(ticks, at + ticks.length);
  if (close < 0) return null;
  const node = document.createElement("code");
  appendPlain(node, text.slice(at + ticks.length, close).replace(/^ (.+) $/, "$1"));
  return { node, end: close + ticks.length };
}

function takeMark(text, at, depth) {
  const [mark, tag] = MARKS.find(([mark]) => text.startsWith(mark, at)) ?? [];
  if (!mark) return null;
  const start = at + mark.length;
  const isWordBefore = /[\p{L}\p{N}]/u.test(text[at - 1] ?? "");
  if (!text[start] || /\s/.test(text[start]) || (mark[0] === "_" && isWordBefore)) return null;
  for (let close = text.indexOf(mark, start + 1); close > 0; close = text.indexOf(mark, close + 1)) {
    const isLonger = mark.length === 1 && (text[close + 1] === mark || text[close - 1] === mark);
    const isWordAfter = mark[0] === "_" && /[\p{L}\p{N}]/u.test(text[close + mark.length] ?? "");
    if (isLonger || isWordAfter || /\s/.test(text[close - 1])) continue;
    const node = document.createElement(tag);
    appendInline(node, text.slice(start, close), depth + 1);
    return { node, end: close + mark.length };
  }
  return null;
}

function takeLink(text, at, depth) {
  const middle = text.indexOf("](", at);
  const close = middle < 0 ? -1 : text.indexOf(")", middle);
  const target = text.slice(middle + 2, close).trim();
  if (close < 0 || !SAFE_LINK.test(target) || /\s/.test(target)) return null;
  const node = makeLink(target);
  appendInline(node, text.slice(at + 1, middle), Math.max(depth + 1, DEEPEST - 1));
  return { node, end: close + 1 };
}

function takeAddress(text, at) {
  const address = /^https?:\/\/[^\s<>"'`]+/.exec(text.slice(at, at + 2048))?.[0].replace(/[.,:;!?)\]*_]+$/, "");
  if (!address || /\w/.test(text[at - 1] ?? "")) return null;
  const node = makeLink(address);
  appendPlain(node, address);
  return { node, end: at + address.length };
}

function makeLink(target) {
  const link = document.createElement("a");
  link.href = target;
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  return link;
}
