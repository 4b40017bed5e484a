// What every script of a client in Node begins with: its checks, each told as one line of JSON.
export const [url, model, ...more] = process.argv.slice(2);

export async function check(name, work) {
  let failure = null;
  try {
    await work();
  } catch (error) {
    console.error(error);
    failure = `${error.name}: ${error.message}`;
  }
  console.log(JSON.stringify({ check: name, failure }));
}

export function ensure(condition, message) {
  if (!condition) throw new Error(message);
}
