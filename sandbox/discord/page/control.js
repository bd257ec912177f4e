/* The sandbox's control plane and its stream of events. */

const BASE = "/sandbox/api/";
const RETRY_MS = 1000;

/** Why something was not done, in one sentence; `option` names the field at fault, if one is. */
export class Refused extends Error {
  constructor(sentence, option) {
    super(sentence);
    this.option = option;
  }
}

/** The JSON answer; Refused otherwise. */
export async function call(method, path, body) {
  const request = { method };
  if (body) Object.assign(request, { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  let reply;
  let data;
  try {
    reply = await fetch(BASE + path, request);
    data = await reply.json();
  } catch {
    throw new Refused("The sandbox does not answer. Is it still running?");
  }
  if (!reply.ok) throw new Refused(data.message ?? `The sandbox answered ${reply.status}.`, data.option);
  return data;
}

/** The events that one viewer may see, for ever: `opened` after each connection, `lost` after each end of one. */
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
      // Browsers repeat in their own rhythm after a break and never after a refusal: one rhythm for both.
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
