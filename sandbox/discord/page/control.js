/* The client of the sandbox's control plane and of its event stream. */

const BASE = "/sandbox/api/";
const RETRY_MS = 1000;

/** The sandbox refused a request. The message says why; `option` names the command option at fault, if any. */
export class Refused extends Error {
  constructor(sentence, option) {
    super(sentence);
    this.option = option;
  }
}

/** Call the control plane and return the JSON reply; throws Refused for an error or no reply. */
export async function call(method, path, body) {
  const request = { method };
  if (body) Object.assign(request, { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  let reply;
  let data;
  try {
    reply = await fetch(BASE + path, request);
    data = await reply.json();
  } catch {
    throw new Refused("The sandbox isn't answering. Check that it's still running.");
  }
  if (!reply.ok) throw new Refused(data.message ?? `The sandbox answered with HTTP status ${reply.status}.`, data.option);
  return data;
}

/**
 * Receives the events that one viewer may see, and reconnects by itself: calls `opened` after each connection
 * and `lost` after each disconnection.
 */
export class Stream {
  constructor(viewer, { event, opened, lost }) {
    this.viewer = viewer;
    this.handlers = { event, opened, lost };
    this.connect();
  }

  connect() {
    this.source = new EventSource(`${BASE}events?viewer=${encodeURIComponent(this.viewer)}`);
    this.source.onopen = () => this.handlers.opened();
    this.source.onmessage = (message) => this.handlers.event(JSON.parse(message.data));
    this.source.onerror = () => {
      // Browsers retry at their own pace after a lost connection and never after an HTTP error. We retry both alike.
      this.source.close();
      this.handlers.lost();
      this.timer = setTimeout(() => this.connect(), RETRY_MS);
    };
  }

  close() {
    clearTimeout(this.timer);
    this.source.close();
  }
}
