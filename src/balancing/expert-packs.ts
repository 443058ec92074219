/** Of the busiest pack's load: less is not worth an exchange. */
const LEAST_GAIN = 1e-4;

/** A change that takes load off the busiest pack. */
interface Exchange {
  readonly gain: number;
  readonly apply: () => void;
}

/** Packs of as many experts each, a pack for a rank; an expert's replicas carry the same each. */
export class ExpertPacks {
  /** [packs][slots] */
  readonly experts: number[][];
  readonly #loads: Float32Array;
  readonly #slots: number;
  /** Load of each pack. */
  readonly #sums: number[];
  #leastGain = 0;
  /** [experts]: the packs that hold each. */
  readonly #holders: number[][];

  /** `loads`: of all logical experts. */
  constructor(loads: Float32Array, packs: number, slots: number) {
    this.#loads = loads;
    this.#slots = slots;
    this.experts = Array.from({ length: packs }, () => []);
    this.#sums = this.experts.map(() => 0);
    this.#holders = Array.from(loads, () => []);
  }

  /** Takes over packs as they are; no expert twice in one. */
  place(packs: readonly (readonly number[])[]): void {
    for (const [pack, experts] of packs.entries()) {
      this.experts[pack].push(...experts);
      for (const expert of experts) this.#holders[expert].push(pack);
    }
    this.#addUp();
  }

  /**
   * Experts and, in the slots that are left, replicas of those whose replicas carry most each: heaviest
   * first, each to the lightest pack with room.
   */
  fill(experts: Int32Array): void {
    const counts = this.#replicate(experts);
    const shareOf = (expert: number) => this.#loads[expert] / (counts.get(expert) as number);
    const all = [...counts].flatMap(([expert, count]) => Array<number>(count).fill(expert));
    for (const expert of all.sort((a, b) => shareOf(b) - shareOf(a) || a - b)) {
      const pack = this.#lightestFor(expert);
      this.experts[pack].push(expert);
      this.#holders[expert].push(pack);
      this.#sums[pack] += shareOf(expert);
    }
    this.#addUp();
  }

  /** Replicas of each expert: no more than packs, unless there are slots for more of all. */
  #replicate(experts: Int32Array): Map<number, number> {
    const counts = new Map([...experts].map((expert) => [expert, 1]));
    const packs = this.experts.length;
    for (let left = packs * this.#slots - experts.length; left > 0; left--) {
      let hottest: number | undefined;
      let most = -1;
      for (const [expert, count] of counts) {
        const share = count < packs ? this.#loads[expert] / count : -1;
        if (share > most) [hottest, most] = [expert, share];
      }
      hottest ??= experts[left % experts.length];
      counts.set(hottest, (counts.get(hottest) as number) + 1);
    }
    return counts;
  }

  /** Exchanges experts while that takes load off the busiest pack, and it has more than is `enough`. */
  improve(enough = 0): void {
    for (let left = this.experts.length * this.#slots; left > 0; left--) {
      const most = Math.max(...this.#sums);
      if (most <= enough) return;
      const busiest = this.#sums.indexOf(most);
      this.#leastGain = LEAST_GAIN * most;
      const best = [this.#bestSwap(busiest), this.#bestReplica(busiest)]
        .filter((exchange) => exchange !== undefined)
        .sort((a, b) => b.gain - a.gain)[0];
      if (!best) return;
      best.apply();
      this.#addUp();
    }
  }

  /** With room, and without the expert if any such is left. */
  #lightestFor(expert: number): number {
    const open = [...this.experts.keys()].filter((pack) => this.experts[pack].length < this.#slots);
    const without = open.filter((pack) => !this.experts[pack].includes(expert));
    const from = without.length > 0 ? without : open;
    return from.reduce((a, b) => (this.#sums[b] < this.#sums[a] ? b : a));
  }

  /** An expert of the busiest pack for a lighter one of another. */
  #bestSwap(busiest: number): Exchange | undefined {
    let best: Exchange | undefined;
    for (const [pack, experts] of this.experts.entries()) {
      if (pack === busiest) continue;
      const room = this.#sums[busiest] - this.#sums[pack];
      if (room / 2 <= this.#least(best)) continue;
      for (const [i, heavy] of this.experts[busiest].entries()) {
        for (const [j, light] of experts.entries()) {
          const moved = this.#share(heavy) - this.#share(light);
          const gain = Math.min(moved, room - moved);
          if (gain <= this.#least(best)) continue;
          if (experts.includes(heavy) || this.experts[busiest].includes(light)) continue;
          const apply = () => {
            this.#put(busiest, i, light);
            this.#put(pack, j, heavy);
          };
          best = { gain, apply };
        }
      }
    }
    return best;
  }

  /** One more replica of an expert of the busiest pack in the place of another expert's. */
  #bestReplica(busiest: number): Exchange | undefined {
    let best: Exchange | undefined;
    for (const hot of this.experts[busiest]) {
      const spared = this.#share(hot) / (this.#holders[hot].length + 1);
      if (spared <= this.#least(best)) continue;
      for (const [pack, experts] of this.experts.entries()) {
        if (experts.includes(hot)) continue;
        for (const [slot, given] of experts.entries()) {
          if (this.#holders[given].length === 1) continue;
          const gain = this.#sums[busiest] - this.#highestWith(hot, given, pack);
          if (gain > this.#least(best)) best = { gain, apply: () => this.#put(pack, slot, hot) };
        }
      }
    }
    return best;
  }

  /** Of the packs that it concerns, if `hot` takes the place of `given` in a pack. */
  #highestWith(hot: number, given: number, pack: number): number {
    const [hotters, givers] = [this.#holders[hot], this.#holders[given]];
    const hotShare = this.#loads[hot] / (hotters.length + 1);
    const hotLess = this.#share(hot) - hotShare;
    const givenMore = this.#loads[given] / (givers.length - 1) - this.#share(given);
    let highest = this.#sums[pack] - this.#share(given) + hotShare;
    for (const holder of hotters) {
      const more = givers.includes(holder) ? givenMore : 0;
      highest = Math.max(highest, this.#sums[holder] - hotLess + more);
    }
    for (const holder of givers) {
      if (holder === pack || hotters.includes(holder)) continue;
      highest = Math.max(highest, this.#sums[holder] + givenMore);
    }
    return highest;
  }

  #least(best: Exchange | undefined): number {
    return best?.gain ?? this.#leastGain;
  }

  #put(pack: number, slot: number, expert: number): void {
    const holders = this.#holders[this.experts[pack][slot]];
    holders.splice(holders.indexOf(pack), 1);
    this.experts[pack][slot] = expert;
    this.#holders[expert].push(pack);
  }

  #addUp(): void {
    for (const [pack, experts] of this.experts.entries()) {
      this.#sums[pack] = experts.reduce((sum, expert) => sum + this.#share(expert), 0);
    }
  }

  #share(expert: number): number {
    return this.#loads[expert] / this.#holders[expert].length;
  }
}
