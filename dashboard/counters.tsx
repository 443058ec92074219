import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { brief, count, dollars, share } from "./format.ts";

/** What has been computed since the server started, and what it would be worth. */
export function Counters({ status }: { status: StatusSnapshot }) {
  const { served, models, tokens, tokensPerSecond: rate, income, cost } = status;
  const { hit, miss, output } = income.dollarsPerMillionTokens;
  return (
    <section class="panel" aria-labelledby="counters">
      <h2 id="counters">Since the start{served.length > 1 && `, of ${models[0]}`}</h2>
      <dl class="counters">
        <Counter name="Input tokens" value={count(tokens.hit + tokens.miss)}>
          {brief(rate.hit + rate.miss)}/s now
        </Counter>
        <Counter name="Cache hits" value={count(tokens.hit)}>
          {share(tokens.hit, tokens.hit + tokens.miss)} of input
        </Counter>
        <Counter name="Cache misses" value={count(tokens.miss)}>
          {brief(rate.miss)}/s now
        </Counter>
        <Counter name="Output tokens" value={count(tokens.output)}>
          {brief(rate.output)}/s now
        </Counter>
        <Counter name="Theoretical income" value={dollars(income.total)}>
          {income.price}’s price
        </Counter>
        <Counter name="Cost per hour" value={dollars(cost.perHour)}>
          {cost.accelerators} × ${cost.acceleratorHour}
        </Counter>
      </dl>
      <p class="note">
        Income is what all tokens would bring at {income.price}’s standard price: ${hit} (hit), $
        {miss} (miss) and ${output} (output) per million, whatever is billed. Cost pretends that
        every rank is an accelerator rented at ${cost.acceleratorHour} an hour.
      </p>
    </section>
  );
}

function Counter(props: { name: string; value: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{props.name}</dt>
      <dd>
        <b>{props.value}</b>
        <span class="dim">{props.children}</span>
      </dd>
    </div>
  );
}
