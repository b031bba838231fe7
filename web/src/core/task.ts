import { inWords, isAbort } from "./backend";
import { fill, h } from "./dom";

/**
 * One kind of work of a panel, of which only the newest run counts: a new run stops the one before,
 * and a line tells what goes on, with a button that stops it, or what went wrong, with one that tries
 * again.
 */
export class Task {
  /** The line to put into the panel. */
  readonly element = h("div", { class: "tz-status", role: "status", "aria-live": "polite" });
  private running: AbortController | undefined;

  /** Do the work and show it with `doing`; of a run that was stopped nothing is shown or thrown. */
  async run<T>(
    doing: string,
    work: (signal: AbortSignal) => Promise<T>,
    done: (result: T) => void,
    failed: () => void = () => undefined,
  ): Promise<void> {
    this.running?.abort();
    const mine = new AbortController();
    this.running = mine;
    const stop = h(
      "button",
      { type: "button", class: "tz-link", onclick: () => this.stop() },
      "Stop",
    );
    const wheel = h("span", { class: "tz-busy", "aria-hidden": "true" });
    fill(this.element, wheel, `${doing}… `, stop);
    try {
      const result = await work(mine.signal);
      if (this.running !== mine) return;
      this.element.replaceChildren();
      done(result);
    } catch (error) {
      if (this.running !== mine) return;
      if (isAbort(error)) this.element.replaceChildren();
      else this.fail(error, () => void this.run(doing, work, done, failed));
      failed();
    } finally {
      if (this.running === mine) this.running = undefined;
    }
  }

  /** Says in words what is wrong. */
  fail(error: unknown, again?: () => void): void {
    fill(
      this.element,
      h("span", { class: "tz-error", role: "alert" }, inWords(error)),
      again && " ",
      again && h("button", { type: "button", class: "tz-link", onclick: again }, "Try again"),
    );
  }

  /** Says something that is neither work nor fault. */
  say(text: string): void {
    fill(this.element, text);
  }

  /** Stops what goes on and clears the line. */
  stop(): void {
    this.running?.abort();
    this.running = undefined;
    this.element.replaceChildren();
  }
}
