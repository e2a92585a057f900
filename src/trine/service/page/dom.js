// Elements in one line each. Text is always set as text, so a name can hold no markup.

/**
 * Makes an element.
 * @param {string} tag
 * @param {object} given attributes; a key that begins with "on" is a listener, "class" a list of classes
 * @param {...(Node|string|number|null|false|Array)} children
 */
export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** 12 -> "12 items", 1 -> "1 item". */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** A distance with three digits. */
export function digits(number) {
  return number === null || number === undefined ? "–" : Number(number).toFixed(number < 10 ? 3 : 1);
}

let numbered = 0;
/** An id that no other element has. */
export function newId(prefix = "e") {
  numbered += 1;
  return `${prefix}${numbered}`;
}
