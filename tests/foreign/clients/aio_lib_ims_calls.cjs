// SPDX-License-Identifier: Apache-2.0
// The token of @adobe/aio-lib-ims, against the emulator: node aio_lib_ims_calls.cjs URL MODULES
const [url, modules] = process.argv.slice(2)
const { Ims } = require(require.resolve('@adobe/aio-lib-ims', { paths: [modules] }))
const ORG = '0123456789ABCDEF01234567@AdobeOrg'

const report = (call, right, problem = '') => console.log(JSON.stringify({ call, right, statuses: [], problem }))

async function main () {
  const ims = new Ims('prod')
  ims.endpoint = url // the host, nothing else
  const sign = secret => ims.getAccessTokenByClientCredentials('emulator-client', secret, ORG, ['openid', 'AdobeID'])
  const result = await sign('emulator-client-secret')
  report('getAccessTokenByClientCredentials', Boolean(result.access_token.token) && result.access_token.expiry > Date.now())
  try {
    await sign('wrong')
    report('getAccessTokenByClientCredentials (wrong secret)', false, 'no error')
  } catch (error) {
    report('getAccessTokenByClientCredentials (wrong secret)', /400|invalid_client/.test(String(error)), String(error).slice(0, 200))
  }
}

main().catch(error => { console.error(error); process.exit(1) })
