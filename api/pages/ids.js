// Names that nobody else gives, also where the page did not come over HTTPS.

/** 128 random bits. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
