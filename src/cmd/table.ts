/** Tables as the reference draws them (spec cli section 3, bench section 1.5); tools parse these. */

export interface TableOptions {
  /** column whose cells are left-aligned; the others are right-aligned */
  readonly leftColumn?: number
}

/** First row: header, centred, an odd blank goes to the left. Colour codes take no room. Ends with a newline. */
export function renderTable(rows: readonly (readonly string[])[], options: TableOptions = {}): string {
  const [header = [], ...body] = rows
  const widths = header.map((_, column) => Math.max(...rows.map(row => visibleLength(row[column] ?? ''))))
  const line = `+${widths.map(width => '-'.repeat(width + 2)).join('+')}+\n`
  const draw = (row: readonly string[], align: (cell: string, column: number, blanks: number) => string): string =>
    `|${widths.map((width, column) => align(row[column] ?? '', column, width - visibleLength(row[column] ?? ''))).join('|')}|\n`
  const centred = (cell: string, _column: number, blanks: number): string => {
    const left = Math.ceil(blanks / 2)
    return ` ${' '.repeat(left)}${cell}${' '.repeat(blanks - left)} `
  }
  const aligned = (cell: string, column: number, blanks: number): string =>
    column === options.leftColumn ? ` ${cell}${' '.repeat(blanks)} ` : ` ${' '.repeat(blanks)}${cell} `
  return line + draw(header, centred) + line + body.map(row => draw(row, aligned)).join('') + line
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
const visibleLength = (cell: string): number => cell.replace(/\x1b\[[0-9;]*m/g, '').length
